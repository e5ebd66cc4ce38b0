//! `task:` of a recipe: what a row teaches the model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::labels::LabelSet;

/// What the model learns to do with a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TaskSpec {
    /// Choose one label for a text, by writing the label's text after a prompt.
    Classify(ClassifyTask),
    /// Answer: conversations, instructions, prompt and completion.
    #[serde(alias = "chat")]
    Sft(SftTask),
    /// Continue text: every token is trained.
    #[serde(alias = "pt")]
    Text(TextTask),
}

/// Classification with a language model: the prompt and the label's text are tokenised separately and joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassifyTask {
    /// The text before the label, with `{column}` where a row's field goes; `{{` and `}}` are braces.
    pub prompt: String,
    /// The classes.
    pub labels: LabelSet,
    /// The field that is cut where a row is too long; the longest if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncate_field: Option<String>,
}

/// Supervised fine-tuning on conversations, instructions or prompt and completion.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SftTask {
    /// How a conversation becomes text. If not given: the model's own chat template for conversations and instructions, plain
    /// joining for `prompt` and `completion`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateName>,
    /// The system message of rows that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Train on every token of the row and not on the answers alone.
    #[serde(default)]
    pub train_on_prompt: bool,
    /// Train on the last answer of a conversation alone.
    #[serde(default)]
    pub mask_history: bool,
}

/// Continued pre-training on plain text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextTask {}

/// A declared way to turn a conversation into text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TemplateName {
    /// The chat template that the model brings.
    Model,
    /// `### Instruction:` … `### Response:`, as Stanford Alpaca wrote it.
    Alpaca,
    /// `<|im_start|>role` … `<|im_end|>`.
    Chatml,
    /// `USER: … ASSISTANT: …`.
    Vicuna,
    /// The texts of the turns, one after the other, nothing between them.
    Plain,
}

/// What happens to a row that is longer than `cutoff_len`. Whatever is cut or dropped is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Truncation {
    /// Cut the end. A classification row loses the end of its text field, never its prompt's tail or its label; any other row
    /// loses its last tokens and then has no end-of-sequence token.
    #[default]
    Right,
    /// Cut the start. A classification row loses the start of its text field, a prompt its start, a conversation its oldest turns
    /// (the system message stays), a text its start.
    Left,
    /// Leave the row out.
    Drop,
    /// Make several rows of a text; for anything else as `drop`.
    Split,
}

impl TaskSpec {
    /// The name in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            TaskSpec::Classify(_) => "classify",
            TaskSpec::Sft(_) => "sft",
            TaskSpec::Text(_) => "text",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_issue_s_task_reads() {
        let task: TaskSpec = serde_json::from_value(json!({"type": "classify", "prompt": "Review: {text}\nSentiment:",
            "labels": {"negative": {"from": [0, "neg"], "text": " negative"}, "positive": {"from": [1, "pos"], "text": " positive"}}}))
        .unwrap();
        assert_eq!(task.name(), "classify");
        let back: TaskSpec = serde_json::from_value(serde_json::to_value(&task).unwrap()).unwrap();
        assert_eq!(back, task);
    }

    #[test]
    fn sft_and_text_have_defaults_and_refuse_unknown_keys() {
        assert_eq!(serde_json::from_value::<TaskSpec>(json!({"type": "chat"})).unwrap(), TaskSpec::Sft(SftTask::default()));
        assert_eq!(serde_json::from_value::<TaskSpec>(json!({"type": "text"})).unwrap(), TaskSpec::Text(TextTask {}));
        for bad in [json!({"type": "sft", "mask_histroy": true}), json!({"type": "text", "prompt": ""}), json!({"type": "rank"}), json!({})]
        {
            assert!(serde_json::from_value::<TaskSpec>(bad.clone()).is_err(), "{bad}");
        }
    }
}
