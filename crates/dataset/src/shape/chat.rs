//! Conversations: OpenAI's messages, sharegpt, alpaca, and prompts that are lists of messages.

use serde_json::{Map, Value, json};
use text::{Content, Message};

use super::{Answers, Converter, kind_of};
use crate::error::BadRow;
use crate::import::Row;
use crate::sample::{SampleKind, Turn};
use crate::settings::Tags;

/// Who speaks, in the words of chat templates.
const USER: &str = "user";
const ASSISTANT: &str = "assistant";
const SYSTEM: &str = "system";
const TOOL: &str = "tool";
/// Sharegpt's turn that is an assistant's call of a tool.
const FUNCTION_CALL: &str = "function_call";

impl Converter {
    /// `messages` or `conversations`.
    pub(super) fn conversation(&self, row: &Row) -> Result<SampleKind, BadRow> {
        let usual = ["messages", "conversations", "conversation"];
        let role = if self.entry.columns.contains_key("conversations") { "conversations" } else { "messages" };
        let (column, value) = self.needed(row, role, &usual)?;
        let items = list(value).map_err(|reason| row.bad(column, reason))?;
        let mut turns = self.turns(row, column, &items)?;
        let system = self.optional_text(row, "system", &["system"])?;
        if !system.trim().is_empty() && turns.first().is_none_or(|t| t.message.role != SYSTEM) {
            turns.insert(0, Message::system(system).into());
        }
        self.finish(row, column, turns)
    }

    /// `instruction`, `input`, `output`, `system`, `history`; or LLaMA-Factory's words `prompt`, `query`, `response`.
    pub(super) fn alpaca(&self, row: &Row) -> Result<SampleKind, BadRow> {
        let pick = |ours: &'static str, theirs: &'static str| if self.entry.columns.contains_key(theirs) { theirs } else { ours };
        let system = self.optional_text(row, "system", &["system"])?;
        let mut turns: Vec<Turn> = Vec::new();
        if !system.trim().is_empty() {
            turns.push(Message::system(system).into());
        }
        let (column, history) = self.cell(row, "history", &["history"]);
        if let Some(history) = history.filter(|h| !h.is_null()) {
            for (i, pair) in list(history).map_err(|reason| row.bad(column, reason))?.iter().enumerate() {
                let [user, assistant] = pair.as_array().map(Vec::as_slice).unwrap_or_default() else {
                    return Err(row.bad(format!("{column}[{i}]"), "not a pair [question, answer]"));
                };
                let text = |value: &Value| super::plain(value).map_err(|reason| row.bad(format!("{column}[{i}]"), reason));
                turns.push(Message::user(text(user)?).into());
                turns.push(Message::assistant(text(assistant)?).into());
            }
        }
        let mut user = self.text(row, pick("instruction", "prompt"), &["instruction", "prompt"])?;
        let input = self.optional_text(row, pick("input", "query"), &["input", "query"])?;
        if !input.trim().is_empty() {
            user = format!("{user}\n{input}");
        }
        turns.push(Message::user(user).into());
        let usual = ["output", "response", "completion"];
        let output = match self.answers {
            Answers::Required => self.text(row, pick("output", "response"), &usual)?,
            Answers::Optional => self.optional_text(row, pick("output", "response"), &usual)?,
        };
        if !output.trim().is_empty() {
            turns.push(Message::assistant(output).into());
        }
        let column = self.cell(row, pick("output", "response"), &usual).0.to_owned();
        self.finish(row, &column, turns)
    }

    /// TRL's conversational `prompt` (given, not trained) and `completion`.
    pub(super) fn conversational_prompt(&self, row: &Row, column: &str, given: &[Value]) -> Result<SampleKind, BadRow> {
        let mut turns = self.turns(row, column, given)?;
        turns.iter_mut().for_each(|turn| turn.train = Some(false));
        let (column, completion) = self.cell(row, "completion", &["completion"]);
        match completion {
            Some(Value::Array(items)) => turns.extend(self.turns(row, column, items)?),
            Some(Value::String(text)) if !text.trim().is_empty() => turns.push(Message::assistant(text.as_str()).into()),
            None | Some(Value::Null | Value::String(_)) => {}
            Some(other) => return Err(row.bad(column, format!("{}, where messages were expected", kind_of(other)))),
        }
        self.finish(row, column, turns)
    }

    fn turns(&self, row: &Row, column: &str, items: &[Value]) -> Result<Vec<Turn>, BadRow> {
        let turn = |(i, item): (usize, &Value)| {
            turn(item, &self.entry.tags).map_err(|(key, reason)| {
                let dot = if key.is_empty() { "" } else { "." };
                row.bad(format!("{column}[{i}]{dot}{key}"), reason)
            })
        };
        items.iter().enumerate().map(turn).collect()
    }

    /// Adds the tools and checks that there is something to learn or to answer.
    fn finish(&self, row: &Row, column: &str, turns: Vec<Turn>) -> Result<SampleKind, BadRow> {
        if turns.is_empty() {
            return Err(row.bad(column, "no messages"));
        }
        if self.answers == Answers::Required && !turns.iter().any(|t| t.message.role == ASSISTANT && t.train != Some(false)) {
            return Err(row.bad(column, "no assistant turn to train on"));
        }
        let (tools_column, tools) = self.cell(row, "tools", &["tools"]);
        let tools = match tools {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.trim().is_empty() => None,
            Some(value) => Some(list(value).map_err(|reason| row.bad(tools_column, reason))?).filter(|tools| !tools.is_empty()),
        };
        Ok(SampleKind::Messages { turns, tools })
    }
}

/// A list, or a text that is JSON of one (CSV cells, LLaMA-Factory's `tools`).
fn list(value: &Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items.clone()),
        Value::String(text) => match serde_json::from_str(text) {
            Ok(Value::Array(items)) => Ok(items),
            Ok(other) => Err(format!("a text that holds {}, where a list was expected", kind_of(&other))),
            Err(e) => Err(format!("a text that is no JSON list: {e}")),
        },
        other => Err(format!("{}, where a list was expected", kind_of(other))),
    }
}

/// One turn; an error names the key and says what is wrong.
fn turn(item: &Value, tags: &Tags) -> Result<Turn, (String, String)> {
    let Value::Object(item) = item else {
        return Err((String::new(), format!("{}, where an object was expected", kind_of(item))));
    };
    let role_key = key(item, tags.role_tag.as_deref(), &["role", "from"]);
    let content_key = key(item, tags.content_tag.as_deref(), &["content", "value"]);
    let who = match item.get(role_key) {
        Some(Value::String(who)) => who.as_str(),
        Some(other) => return Err((role_key.into(), format!("{}, where a text was expected", kind_of(other)))),
        None => return Err((role_key.into(), format!("missing; the turn has: {}", item.keys().cloned().collect::<Vec<_>>().join(", ")))),
    };
    let role = role(who, tags).ok_or_else(|| {
        (
            role_key.to_owned(),
            format!("unknown role {who:?}; known: user/human, assistant/gpt, system, tool/observation, function_call (or see `tags:`)"),
        )
    })?;
    let train = match (item.get("train"), item.get("weight")) {
        (Some(Value::Bool(train)), _) => Some(*train),
        (None | Some(Value::Null), Some(Value::Number(weight))) => match weight.as_f64() {
            Some(0.0) => Some(false),
            Some(1.0) => Some(true),
            _ => return Err(("weight".into(), format!("{weight}: only 0 and 1 are known"))),
        },
        (None | Some(Value::Null), None | Some(Value::Null)) => None,
        (Some(other), _) => return Err(("train".into(), format!("{other}: only true and false are known"))),
        (_, Some(other)) => return Err(("weight".into(), format!("{other}: only 0 and 1 are known"))),
    };
    let mut message = Message { role: role.to_owned(), content: None, tool_calls: None, extra: Map::new() };
    for (name, value) in item {
        match name.as_str() {
            "train" | "weight" => {}
            name if name == role_key => {}
            name if name == content_key => message.content = Some(content(value).map_err(|reason| (name.to_owned(), reason))?),
            "tool_calls" => match value {
                Value::Array(calls) => message.tool_calls = Some(calls.clone()),
                Value::Null => {}
                other => return Err((name.clone(), format!("{}, where a list was expected", kind_of(other)))),
            },
            _ => {
                message.extra.insert(name.clone(), value.clone());
            }
        }
    }
    if role == FUNCTION_CALL {
        message.role = ASSISTANT.to_owned();
        message.tool_calls = Some(calls(&message.text()).map_err(|reason| (content_key.to_owned(), reason))?);
        message.content = Some(Content::Text(String::new()));
    }
    let says_nothing = message.text().is_empty() && message.tool_calls.as_ref().is_none_or(Vec::is_empty);
    if says_nothing && role != SYSTEM && role != TOOL {
        let reason = if item.contains_key(content_key) { "empty" } else { "missing" };
        return Err((content_key.to_owned(), reason.to_owned()));
    }
    Ok(Turn { message, train })
}

fn key<'a>(item: &Map<String, Value>, declared: Option<&'a str>, usual: &[&'a str]) -> &'a str {
    declared.or_else(|| usual.iter().copied().find(|name| item.contains_key(*name))).unwrap_or(usual.first().copied().unwrap_or_default())
}

/// The template's word for a speaker; declared names first, then every usual spelling.
fn role(who: &str, tags: &Tags) -> Option<&'static str> {
    let declared = [
        (&tags.user_tag, USER),
        (&tags.assistant_tag, ASSISTANT),
        (&tags.observation_tag, TOOL),
        (&tags.function_tag, FUNCTION_CALL),
        (&tags.system_tag, SYSTEM),
    ];
    if let Some((_, role)) = declared.iter().find(|(tag, _)| tag.as_deref() == Some(who)) {
        return Some(role);
    }
    match who {
        "user" | "human" => Some(USER),
        "assistant" | "gpt" | "chatgpt" | "bot" | "model" => Some(ASSISTANT),
        "system" | "developer" => Some(SYSTEM),
        "tool" | "observation" | "function_response" => Some(TOOL),
        "function_call" | "tool_call" => Some(FUNCTION_CALL),
        _ => None,
    }
}

fn content(value: &Value) -> Result<Content, String> {
    match value {
        Value::String(text) => Ok(Content::Text(text.clone())),
        Value::Null => Ok(Content::Null),
        Value::Array(parts) => match parts.iter().find(|p| !p.is_string() && p.get("text").is_none()) {
            Some(part) => {
                let kind = part.get("type").and_then(Value::as_str).unwrap_or(kind_of(part));
                Err(format!("a part of type {kind:?}: only text can be trained on"))
            }
            None => Ok(Content::Parts(parts.clone())),
        },
        Value::Bool(_) | Value::Number(_) => Ok(Content::Text(value.to_string())),
        Value::Object(_) => Err("an object, where a text was expected".to_owned()),
    }
}

/// Sharegpt's `{"name": …, "arguments": …}` (or a list of them) as OpenAI's tool calls.
fn calls(text: &str) -> Result<Vec<Value>, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("a function call that is no JSON: {e}"))?;
    let items = match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    let call = |item: Value| match item.get("name") {
        Some(Value::String(_)) => Ok(json!({"type": "function", "function": item})),
        _ => Err("a function call without a name".to_owned()),
    };
    items.into_iter().map(call).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{convert, convert_as};
    use super::*;
    use crate::sample::Sample;

    fn turns(sample: &Sample) -> Vec<(String, String, Option<bool>)> {
        let SampleKind::Messages { turns, .. } = &sample.kind else { panic!("{sample:?}") };
        turns.iter().map(|t| (t.message.role.clone(), t.message.text(), t.train)).collect()
    }

    fn own(turns: &[(&str, &str, Option<bool>)]) -> Vec<(String, String, Option<bool>)> {
        turns.iter().map(|(r, t, w)| (r.to_string(), t.to_string(), *w)).collect()
    }

    fn sft(row: Value) -> Result<Sample, String> {
        convert(json!({}), json!({"type": "sft"}), row)
    }

    #[test]
    fn openai_messages_keep_weights_and_tools() {
        let row = json!({"messages": [
            {"role": "system", "content": "简短"},
            {"role": "user", "content": [{"type": "text", "text": "你好"}]},
            {"role": "assistant", "content": "嗨", "weight": 0},
            {"role": "user", "content": "天气?"},
            {"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function": {"name": "w"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "晴"},
            {"role": "assistant", "content": "晴天", "train": true}],
            "tools": "[{\"name\": \"w\"}]"});
        let sample = sft(row).unwrap();
        assert_eq!(turns(&sample)[2], ("assistant".into(), "嗨".into(), Some(false)));
        assert_eq!(turns(&sample)[6], ("assistant".into(), "晴天".into(), Some(true)));
        let SampleKind::Messages { turns, tools } = &sample.kind else { panic!() };
        assert_eq!(turns[5].message.extra["tool_call_id"], "1");
        assert_eq!(turns[4].message.content, Some(Content::Null));
        assert_eq!(tools.as_deref(), Some(&[json!({"name": "w"})][..]));
        assert!(!turns[2].message.extra.contains_key("weight"), "a template must not see our marks");
    }

    #[test]
    fn sharegpt_in_its_own_and_in_declared_words() {
        let row = json!({"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"},
            {"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"}, {"from": "observation", "value": "2"}], "system": "s"});
        let sample = sft(row).unwrap();
        let expected =
            own(&[("system", "s", None), ("user", "hi", None), ("assistant", "hello", None), ("assistant", "", None), ("tool", "2", None)]);
        assert_eq!(turns(&sample), expected);
        let SampleKind::Messages { turns: all, .. } = &sample.kind else { panic!() };
        assert_eq!(all[3].message.tool_calls.as_ref().unwrap()[0]["function"]["arguments"], json!({"x": 1}));
        let entry = json!({"shape": "sharegpt", "columns": {"conversations": "对话"},
            "tags": {"role_tag": "谁", "content_tag": "话", "user_tag": "客户", "assistant_tag": "客服"}});
        let row = json!({"对话": [{"谁": "客户", "话": "在吗"}, {"谁": "客服", "话": "在"}]});
        assert_eq!(turns(&convert(entry, json!({"type": "sft"}), row).unwrap()), own(&[("user", "在吗", None), ("assistant", "在", None)]));
    }

    #[test]
    fn alpaca_joins_instruction_and_input_and_unrolls_history() {
        let row = json!({"instruction": "翻译", "input": "cat", "output": "猫", "system": "", "history": [["a", "b"]]});
        assert_eq!(
            turns(&sft(row).unwrap()),
            own(&[("user", "a", None), ("assistant", "b", None), ("user", "翻译\ncat", None), ("assistant", "猫", None)])
        );
        let entry = json!({"columns": {"prompt": "q", "response": "a"}});
        let sample = convert(entry, json!({"type": "sft"}), json!({"q": "1", "a": "2"})).unwrap();
        assert_eq!(turns(&sample), own(&[("user", "1", None), ("assistant", "2", None)]));
    }

    #[test]
    fn conversational_prompts_train_the_completion_alone() {
        let row = json!({"prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
            "completion": [{"role": "assistant", "content": "d"}]});
        let trained: Vec<_> = turns(&sft(row).unwrap()).into_iter().map(|t| t.2).collect();
        assert_eq!(trained, [Some(false), Some(false), Some(false), None]);
    }

    #[test]
    fn bad_turns_are_named_down_to_their_key() {
        let bad = |messages: Value| sft(json!({"messages": messages})).unwrap_err();
        assert_eq!(bad(json!([])), "f:7: messages: no messages");
        assert_eq!(bad(json!([{"role": "user", "content": "a"}])), "f:7: messages: no assistant turn to train on");
        assert!(bad(json!([{"role": "wizard", "content": "a"}])).starts_with("f:7: messages[0].role: unknown role \"wizard\""));
        assert_eq!(bad(json!([{"role": "user"}])), "f:7: messages[0].content: missing");
        assert_eq!(bad(json!(["a"])), "f:7: messages[0]: a text, where an object was expected");
        assert!(bad(json!([{"role": "assistant", "content": "a", "weight": 0.5}])).contains("messages[0].weight"));
        assert!(bad(json!([{"role": "user", "content": [{"type": "image_url"}]}])).contains("image_url"));
        assert!(bad(json!("nonsense")).contains("no JSON list"));
        let asked =
            convert_as(Answers::Optional, json!({}), json!({"type": "sft"}), json!({"messages": [{"role": "user", "content": "a"}]}));
        assert_eq!(asked.unwrap().text(), "a");
    }
}
