//! Which language a text is in: by script where a script tells it, by the commonest words where Latin letters do not.

use crate::script::is_han;

/// Languages that are told.
pub const KNOWN: &[&str] = &["zh", "ja", "ko", "ru", "ar", "en", "de", "fr", "es", "it", "pt", "nl"];

/// Commonest words that the other languages of the table have not.
const WORDS: &[(&str, &[&str])] = &[
    (
        "en",
        &["the", "and", "of", "to", "is", "that", "for", "with", "this", "are", "by", "be", "not", "shall", "which", "from", "it", "was"],
    ),
    (
        "de",
        &[
            "der", "die", "und", "das", "ist", "nicht", "mit", "den", "von", "zu", "des", "ein", "eine", "auf", "für", "dem", "sich",
            "werden",
        ],
    ),
    ("fr", &["le", "les", "et", "des", "est", "une", "dans", "que", "qui", "pour", "du", "au", "sur", "pas", "avec", "par", "ce", "sont"]),
    ("es", &["el", "los", "las", "que", "y", "una", "por", "con", "para", "del", "se", "es", "al", "como", "más", "pero", "sus", "su"]),
    (
        "it",
        &["il", "di", "che", "è", "della", "per", "una", "non", "del", "gli", "sono", "con", "nel", "alla", "più", "dei", "lo", "anche"],
    ),
    ("pt", &["o", "os", "que", "não", "uma", "do", "da", "em", "para", "com", "dos", "no", "na", "ao", "são", "pelo", "mais", "foi"]),
    (
        "nl",
        &[
            "het", "een", "van", "en", "niet", "dat", "op", "te", "zijn", "voor", "met", "aan", "bij", "wordt", "door", "ook", "naar",
            "deze",
        ],
    ),
];

/// Characters looked at.
const LOOKED_AT: usize = 20_000;

/// The code of a text's language; `None` where nothing tells it.
pub fn detect(text: &str) -> Option<&'static str> {
    let (mut han, mut kana, mut hangul, mut cyrillic, mut arabic, mut latin) = (0, 0, 0, 0, 0, 0);
    for c in text.chars().take(LOOKED_AT) {
        match u32::from(c) {
            0x3040..=0x30FF => kana += 1,
            0xAC00..=0xD7AF | 0x1100..=0x11FF => hangul += 1,
            0x0400..=0x04FF => cyrillic += 1,
            0x0600..=0x06FF => arabic += 1,
            _ if is_han(c) => han += 1,
            _ if c.is_alphabetic() => latin += 1,
            _ => {}
        }
    }
    // A character of Chinese says as much as some three letters.
    let (cjk, letters) = (3 * (han + kana), latin);
    let most = [cjk, 3 * hangul, cyrillic, arabic, letters].into_iter().max().filter(|n| *n > 0)?;
    match () {
        () if most == cjk => Some(if kana * 10 > han + kana { "ja" } else { "zh" }),
        () if most == 3 * hangul => Some("ko"),
        () if most == cyrillic => Some("ru"),
        () if most == arabic => Some("ar"),
        () => latin_language(text),
    }
}

fn latin_language(text: &str) -> Option<&'static str> {
    let mut scores = vec![0usize; WORDS.len()];
    let mut words = 0;
    let head: String = text.chars().take(LOOKED_AT).collect::<String>().to_lowercase();
    for word in head.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()) {
        words += 1;
        for (score, (_, common)) in scores.iter_mut().zip(WORDS) {
            *score += usize::from(common.contains(&word));
        }
    }
    let (best, score) = scores.iter().enumerate().max_by_key(|(i, s)| (**s, std::cmp::Reverse(*i)))?;
    (*score * 20 >= words && *score > 0).then(|| WORDS[best].0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told() {
        for (text, want) in [
            ("The tenant shall pay the rent to the landlord.", Some("en")),
            ("Der Mieter zahlt die Miete an den Vermieter und nicht später.", Some("de")),
            ("Le locataire paie le loyer au bailleur dans les délais.", Some("fr")),
            ("承租方应当向出租方支付租金，按照 PDF 附件执行。", Some("zh")),
            ("賃借人は家賃を支払うものとする。", Some("ja")),
            ("임차인은 임대료를 지불한다.", Some("ko")),
            ("Арендатор платит арендную плату.", Some("ru")),
            ("12345 --", None),
            ("xyzzy plugh", None),
        ] {
            assert_eq!(detect(text), want, "{text}");
        }
    }
}
