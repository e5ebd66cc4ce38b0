//! What distinguishes one model family from another: names of modules and tensors, and how files lay them out.
//!
//! There is one decoder. A family is a row of this table plus the lines in `config` that read its field names; to add
//! one, add a row, the fields, and a tiny oracle model (`oracles/tiny_models.py`).

use crate::config::ModelConfig;
use std::fmt;

/// Names of a family's modules in Hugging Face's layout, and of its tensors in GGUF.
#[derive(Debug)]
pub struct Names {
    /// What published files may leave away in front of a name ("transformer." in GPT-2's original files).
    pub optional_prefix: &'static str,
    /// Token embedding.
    pub embed: &'static str,
    /// Learned positions.
    pub positions: &'static str,
    /// List of layers.
    pub layers: &'static str,
    /// Last normalisation.
    pub final_norm: &'static str,
    /// Output head.
    pub head: &'static str,
    /// Within a layer: normalisation before attention.
    pub input_norm: &'static str,
    /// Normalisation before the MLP.
    pub post_norm: &'static str,
    /// Separate projections; empty if fused.
    pub qkv: [&'static str; 3],
    /// Fused projection; empty if separate.
    pub fused_qkv: &'static str,
    /// Attention output.
    pub output: &'static str,
    /// Gate of a gated MLP; empty if there is none.
    pub gate: &'static str,
    /// MLP in.
    pub up: &'static str,
    /// MLP out.
    pub down: &'static str,
    /// Matrices of the layers are stored `[in, out]` (transformers' `Conv1D`).
    pub conv1d: bool,
}

/// Llama and everything that copied its module names.
const LLAMA_NAMES: Names = Names {
    optional_prefix: "",
    embed: "model.embed_tokens",
    positions: "",
    layers: "model.layers",
    final_norm: "model.norm",
    head: "lm_head",
    input_norm: "input_layernorm",
    post_norm: "post_attention_layernorm",
    qkv: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    fused_qkv: "",
    output: "self_attn.o_proj",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    down: "mlp.down_proj",
    conv1d: false,
};

const GPT2_NAMES: Names = Names {
    optional_prefix: "transformer.",
    embed: "transformer.wte",
    positions: "transformer.wpe",
    layers: "transformer.h",
    final_norm: "transformer.ln_f",
    head: "lm_head",
    input_norm: "ln_1",
    post_norm: "ln_2",
    qkv: ["", "", ""],
    fused_qkv: "attn.c_attn",
    output: "attn.c_proj",
    gate: "",
    up: "mlp.c_fc",
    down: "mlp.c_proj",
    conv1d: true,
};

/// One row of the table of families.
pub struct Family {
    /// `model_type` in config.json.
    pub model_type: &'static str,
    /// `architectures[0]` in config.json.
    pub architecture: &'static str,
    /// `general.architecture` in GGUF.
    pub gguf: &'static str,
    /// GGUF holds the rows of Q and K permuted to interleaved pairs.
    pub gguf_permutes_qk: bool,
    /// Module names.
    pub names: &'static Names,
    /// LayerNorm (with bias) instead of RMSNorm.
    pub layer_norm: bool,
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model_type)
    }
}

/// Every family that this program can compute.
pub static FAMILIES: [Family; 5] = [
    Family {
        model_type: "llama",
        architecture: "LlamaForCausalLM",
        gguf: "llama",
        gguf_permutes_qk: true,
        names: &LLAMA_NAMES,
        layer_norm: false,
    },
    Family {
        model_type: "mistral",
        architecture: "MistralForCausalLM",
        gguf: "llama",
        gguf_permutes_qk: true,
        names: &LLAMA_NAMES,
        layer_norm: false,
    },
    Family {
        model_type: "qwen2",
        architecture: "Qwen2ForCausalLM",
        gguf: "qwen2",
        gguf_permutes_qk: false,
        names: &LLAMA_NAMES,
        layer_norm: false,
    },
    Family {
        model_type: "stablelm",
        architecture: "StableLmForCausalLM",
        gguf: "stablelm",
        gguf_permutes_qk: false,
        names: &LLAMA_NAMES,
        layer_norm: true,
    },
    Family {
        model_type: "gpt2",
        architecture: "GPT2LMHeadModel",
        gguf: "gpt2",
        gguf_permutes_qk: false,
        names: &GPT2_NAMES,
        layer_norm: true,
    },
];

impl Family {
    /// The family of a `model_type`.
    pub fn by_model_type(model_type: &str) -> Option<&'static Family> {
        FAMILIES.iter().find(|f| f.model_type == model_type)
    }

    /// The first family that GGUF calls `architecture`.
    pub fn by_gguf(architecture: &str) -> Option<&'static Family> {
        FAMILIES.iter().find(|f| f.gguf == architecture)
    }

    /// All model types, for error messages.
    pub fn supported() -> String {
        FAMILIES.iter().map(|f| f.model_type).collect::<Vec<_>>().join(", ")
    }
}

/// Where a tensor belongs in the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Token embedding `[vocab, hidden]`.
    Embed,
    /// Learned positions `[positions, hidden]`.
    Positions,
    /// In layer `.0`.
    Layer(usize, Part),
    /// Last normalisation.
    FinalNorm(Half),
    /// Output head `[vocab, hidden]`; tied models have no such tensor.
    Head,
}

/// A module of a layer, and which of its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Normalisation before attention.
    InputNorm(Half),
    /// Queries, keys, values (0, 1, 2).
    Qkv(usize, Half),
    /// Queries, keys and values in one matrix.
    FusedQkv(Half),
    /// Attention output.
    Output(Half),
    /// Normalisation before the MLP.
    PostNorm(Half),
    /// MLP gate.
    Gate(Half),
    /// MLP in.
    Up(Half),
    /// MLP out.
    Down(Half),
}

/// Weight or bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Half {
    /// The module's weight.
    Weight,
    /// The module's bias.
    Bias,
}

/// One tensor that a configuration implies.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Where it belongs.
    pub place: Place,
    /// Path of its module, e.g. `model.layers.0.self_attn.q_proj`.
    pub module: String,
    /// Hugging Face's name, e.g. `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// GGUF's name, e.g. `blk.0.attn_q.weight`.
    pub gguf_name: String,
    /// Shape as the decoder holds it: matrices `[out, in]`.
    pub shape: Vec<usize>,
    /// Hugging Face's file holds the transpose of `shape`.
    pub transposed: bool,
    /// GGUF holds the rows permuted for this many heads.
    pub permuted_heads: Option<usize>,
}

impl Slot {
    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// Shape in Hugging Face's file.
    pub fn file_shape(&self) -> Vec<usize> {
        if self.transposed { self.shape.iter().rev().copied().collect() } else { self.shape.clone() }
    }

    /// Index of the layer it belongs to.
    pub fn layer(&self) -> Option<usize> {
        match self.place {
            Place::Layer(i, _) => Some(i),
            _ => None,
        }
    }

    /// True if weight decay applies: not to biases and normalisations (as in transformers' `Trainer`).
    pub fn decays(&self) -> bool {
        self.shape.len() > 1
    }
}

/// Every tensor of a model with this configuration, in the order of the forward pass.
pub fn slots(config: &ModelConfig) -> Vec<Slot> {
    let names = config.family.names;
    let (d, ff) = (config.hidden_size, config.intermediate_size);
    let (q, kv) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let mut list = Vec::new();
    let mut put = |place, module: String, gguf: String, shape: Vec<usize>, bias: bool, more: (bool, Option<usize>)| {
        let half = if bias { "bias" } else { "weight" };
        list.push(Slot {
            place,
            name: format!("{module}.{half}"),
            gguf_name: format!("{gguf}.{half}"),
            module,
            transposed: more.0 && shape.len() == 2,
            shape,
            permuted_heads: more.1,
        });
    };
    let plain = (false, None);
    put(Place::Embed, names.embed.into(), "token_embd".into(), vec![config.vocab_size, d], false, plain);
    if config.rope.is_none() {
        let shape = vec![config.max_positions, d];
        put(Place::Positions, names.positions.into(), "position_embd".into(), shape, false, plain);
    }
    for i in 0..config.layers {
        let mut module = |part: fn(Half) -> Part, name: &str, gguf: &str, out: usize, inputs: Option<usize>, bias: bool, more| {
            let (path, gguf) = (format!("{}.{i}.{name}", names.layers), format!("blk.{i}.{gguf}"));
            let shape = std::iter::once(out).chain(inputs).collect();
            put(Place::Layer(i, part(Half::Weight)), path.clone(), gguf.clone(), shape, false, more);
            if bias {
                put(Place::Layer(i, part(Half::Bias)), path, gguf, vec![out], true, more);
            }
        };
        let matrix = (names.conv1d, None);
        let permuted = |heads| (names.conv1d, config.family.gguf_permutes_qk.then_some(heads));
        let norm_bias = config.family.layer_norm;
        module(Part::InputNorm, names.input_norm, "attn_norm", d, None, norm_bias, plain);
        if names.fused_qkv.is_empty() {
            let [nq, nk, nv] = names.qkv;
            let bias = config.qkv_bias;
            module(|h| Part::Qkv(0, h), nq, "attn_q", q, Some(d), bias, permuted(config.heads));
            module(|h| Part::Qkv(1, h), nk, "attn_k", kv, Some(d), bias, permuted(config.kv_heads));
            module(|h| Part::Qkv(2, h), nv, "attn_v", kv, Some(d), bias, matrix);
        } else {
            module(Part::FusedQkv, names.fused_qkv, "attn_qkv", q + 2 * kv, Some(d), config.qkv_bias, matrix);
        }
        module(Part::Output, names.output, "attn_output", d, Some(q), config.output_bias, matrix);
        module(Part::PostNorm, names.post_norm, "ffn_norm", d, None, norm_bias, plain);
        if !names.gate.is_empty() {
            module(Part::Gate, names.gate, "ffn_gate", ff, Some(d), config.mlp_bias, matrix);
        }
        module(Part::Up, names.up, "ffn_up", ff, Some(d), config.mlp_bias, matrix);
        module(Part::Down, names.down, "ffn_down", d, Some(ff), config.mlp_bias, matrix);
    }
    put(Place::FinalNorm(Half::Weight), names.final_norm.into(), "output_norm".into(), vec![d], false, plain);
    if config.family.layer_norm {
        put(Place::FinalNorm(Half::Bias), names.final_norm.into(), "output_norm".into(), vec![d], true, plain);
    }
    if !config.tied {
        put(Place::Head, names.head.into(), "output".into(), vec![config.vocab_size, d], false, plain);
    }
    list
}
