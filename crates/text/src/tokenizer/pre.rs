//! How a byte-level tokenizer cuts text before it merges, by the name that a GGUF file gives (`tokenizer.ggml.pre`).
//!
//! A GGUF file carries vocabulary and merges but only a *name* for the rest, so this table says what each name stands for, in the
//! terms of the model's own published `tokenizer.json` (llama.cpp's expressions approximate some of those: it has no `(?i:…)` and
//! no possessive quantifiers). A wrong rule here gives slightly other ids for numbers, white space or accents, and a model that is
//! slightly worse for no visible reason; a name that is not in the table is therefore refused, not guessed.

use serde_json::{Value, json};

/// How one family of tokenizers cuts text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// The cuts in order, before bytes are mapped to the byte-level alphabet.
    cuts: &'static [Cut],
    /// Whether GPT-2's own expression cuts last (`use_regex` of the byte-level step).
    gpt2: bool,
    /// Whether the published normalizer composes characters (NFC) first.
    pub nfc: bool,
    /// A piece that is a whole token stays whole, whatever the merges would make of it.
    pub ignore_merges: bool,
    /// Whether a text begins with the beginning-of-text token if the file does not say.
    pub add_bos: bool,
}

/// One cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Matches of an expression become pieces of their own.
    Regex(&'static str),
    /// Each digit on its own.
    EachDigit,
    /// Runs of digits.
    Digits,
    /// Runs of punctuation.
    Punctuation,
}

/// GPT-2's own expression and nothing else.
const GPT2: Rule = Rule { cuts: &[], gpt2: true, nfc: false, ignore_merges: false, add_bos: false };
/// Each digit on its own, then GPT-2's expression.
const EACH_DIGIT: Rule = Rule { cuts: &[Cut::EachDigit], ..GPT2 };
/// Falcon's; also what llama.cpp takes where a file names nothing.
const FALCON: Rule = Rule { cuts: &[Cut::Punctuation], ..GPT2 };

/// A rule of plain cuts without GPT-2's expression.
const fn cuts(cuts: &'static [Cut]) -> Rule {
    Rule { cuts, gpt2: false, ..GPT2 }
}

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK_V3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const BLOOM: &str = r" ?[^(\s|[.,!?…。，、।۔،])]+";
const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const JAIS2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}";
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const MINICPM5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Letters of scripts that have case, as DeepSeek's first tokenizers list them. Escaped: some of these characters change under
/// Unicode normalization, and an editor that normalizes would silently widen a range.
const DEEPSEEK_LETTERS: &str = concat!(
    "\\s?[A-Za-z\u{B5}\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{1BA}\u{1BC}-\u{1BF}\u{1C4}-\u{293}\u{295}-\u{2AF}\u{370}-\u{373}",
    "\u{376}\u{377}\u{37B}-\u{37D}\u{37F}\u{386}\u{388}-\u{38A}\u{38C}\u{38E}-\u{3A1}\u{3A3}-\u{3F5}\u{3F7}-\u{481}",
    "\u{48A}-\u{52F}\u{531}-\u{556}\u{10A0}-\u{10C5}\u{13A0}-\u{13F5}\u{13F8}-\u{13FD}\u{1C90}-\u{1CBA}\u{1CBD}-\u{1CBF}",
    "\u{1D00}-\u{1D2B}\u{1D6B}-\u{1D77}\u{1D79}-\u{1D9A}\u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}\u{1F20}-\u{1F45}",
    "\u{1F48}-\u{1F4D}\u{1F50}-\u{1F57}\u{1F59}\u{1F5B}\u{1F5D}\u{1F5F}-\u{1F7D}\u{1F80}-\u{1FB4}\u{1FB6}-\u{1FBC}\u{1FBE}",
    "\u{1FC2}-\u{1FC4}\u{1FC6}-\u{1FCC}\u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}\u{1FF2}-\u{1FF4}",
    "\u{1FF6}-\u{1FFC}\u{2102}\u{2107}\u{210A}-\u{2113}\u{2115}\u{2119}-\u{211D}\u{2124}\u{2126}\u{2128}\u{212A}-\u{212D}",
    "\u{212F}-\u{2134}\u{2139}\u{213C}-\u{213F}\u{2145}-\u{2149}\u{214E}\u{2183}\u{2184}\u{2C00}-\u{2C7B}\u{2C7E}-\u{2CE4}",
    "\u{2CEB}-\u{2CEE}\u{2CF2}\u{2CF3}\u{A640}-\u{A66D}\u{A680}-\u{A69B}\u{A722}-\u{A76F}\u{A771}-\u{A787}\u{A78B}-\u{A78E}",
    "\u{AB70}-\u{ABBF}\u{FB00}-\u{FB06}\u{FB13}-\u{FB17}\u{FF21}-\u{FF3A}\u{FF41}-\u{FF5A}\u{10400}-\u{1044F}",
    "\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}\u{10CC0}-\u{10CF2}\u{118A0}-\u{118DF}\u{1E900}-\u{1E943}]+",
);
const DEEPSEEK_MARKS: &str = "\\s?[!-/:-~\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF5E}\u{2018}-\u{201F}\u{3000}-\u{3002}]+";
const DEEPSEEK_CJK: &str = "[\u{4E00}-\u{9FA5}\u{800}-\u{4E00}\u{AC00}-\u{D7FF}]+";
const DEEPSEEK_V3_CJK: &str = "[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+";

/// What the name `tokenizer.ggml.pre` stands for; `None` for a name that nobody has checked.
pub(super) fn rule(name: &str) -> Option<Rule> {
    use Cut::Regex;
    Some(match name {
        // "default" is what old converters wrote where they knew no name.
        "default" | "falcon" => FALCON,
        "gpt-2" | "phi-2" | "gigachat" | "a.x-4.0" | "mellum" | "jais" | "trillion" | "granite-docling" | "exaone4" | "roberta-bpe"
        | "jina-es" | "jina-de" | "jina-v2-es" | "jina-v2-de" | "jina-v2-code" => GPT2,
        // GPT-NeoX's tokenizer and its children compose characters.
        "mpt" | "olmo" | "modern-bert" => Rule { nfc: true, ..GPT2 },
        "smollm" | "starcoder" | "refact" | "codeshell" | "exaone" | "minerva-7b" | "mellum2" => EACH_DIGIT,
        "command-r" => Rule { nfc: true, ..EACH_DIGIT },
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0" | "lfm2" | "jina-v5-nano" => {
            Rule { ignore_merges: true, add_bos: true, ..cuts(&[Regex(LLAMA3)]) }
        }
        "dbrx" | "smaug-bpe" | "chatglm-bpe" | "glm4" => cuts(&[Regex(LLAMA3)]),
        "qwen2" | "deepseek-r1-qwen" | "megrez" | "kormo" | "f2llmv2" => Rule { nfc: true, ..cuts(&[Regex(QWEN2)]) },
        "stablelm2" | "hunyuan" | "solar-open" | "grok-2" => cuts(&[Regex(QWEN2)]),
        "qwen35" => Rule { nfc: true, ..cuts(&[Regex(QWEN35)]) },
        "tekken" => Rule { ignore_merges: true, add_bos: true, ..cuts(&[Regex(TEKKEN)]) },
        "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" => cuts(&[Regex(GPT4O)]),
        "deepseek-llm" => {
            cuts(&[Regex("[\r\n]"), Regex(DEEPSEEK_LETTERS), Regex(DEEPSEEK_MARKS), Regex(r"\s+$"), Regex(DEEPSEEK_CJK), Cut::EachDigit])
        }
        "deepseek-coder" => cuts(&[Regex("[\r\n]"), Regex(r"\s?\p{L}+"), Regex(r"\s?\p{P}+"), Regex(DEEPSEEK_CJK), Cut::EachDigit]),
        "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => {
            cuts(&[Regex(r"\p{N}{1,3}"), Regex(DEEPSEEK_V3_CJK), Regex(DEEPSEEK_V3)])
        }
        "bloom" | "poro-chat" | "gpt3-finnish" => cuts(&[Regex(BLOOM)]),
        "viking" => cuts(&[Regex(BLOOM), Cut::EachDigit]),
        "bailingmoe" | "bailingmoe2" | "llada-moe" => cuts(&[Regex(BAILING)]),
        "seed-coder" => cuts(&[Regex(SEED_CODER)]),
        "jais-2" => cuts(&[Regex(JAIS2)]),
        "exaone-moe" => cuts(&[Regex(EXAONE_MOE)]),
        "superbpe" => cuts(&[Regex(r"\p{N}+"), Regex(r"(?=(\d{3})+(?!\d))")]),
        "minicpm5" => Rule { ignore_merges: true, ..cuts(&[Regex(r"\p{N}{1,3}"), Regex(MINICPM5)]) },
        _ => return None,
    })
}

impl Rule {
    /// The `pre_tokenizer` section of `tokenizer.json`.
    pub(super) fn to_json(self) -> Value {
        let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": self.gpt2});
        let mut steps: Vec<Value> = self.cuts.iter().map(|cut| cut.to_json()).collect();
        if steps.is_empty() {
            return byte_level;
        }
        steps.push(byte_level);
        if matches!(self.cuts, [Cut::Punctuation]) {
            // Falcon cuts numbers after the byte-level step, in its alphabet.
            steps.push(Cut::Digits.to_json());
            steps.push(Cut::Regex("[0-9][0-9][0-9]").to_json());
        }
        json!({"type": "Sequence", "pretokenizers": steps})
    }
}

impl Cut {
    fn to_json(self) -> Value {
        match self {
            Cut::Regex(pattern) => json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false}),
            Cut::EachDigit => json!({"type": "Digits", "individual_digits": true}),
            Cut::Digits => json!({"type": "Digits", "individual_digits": false}),
            Cut::Punctuation => json!({"type": "Punctuation", "behavior": "Contiguous"}),
        }
    }
}
