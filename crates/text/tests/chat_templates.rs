//! Chat templates against `transformers`: values from `oracles/chat_templates.py`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};
use text::{ChatTemplate, LocalTime, Message, SpecialTokens, TextError};

fn data(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

struct Oracle {
    values: Value,
    special: SpecialTokens,
    now: LocalTime,
}

impl Oracle {
    fn load() -> Self {
        let values: Value = serde_json::from_str(&data("chat_templates.json")).unwrap();
        let mut special = SpecialTokens::new();
        for (name, token) in values["special"].as_object().unwrap() {
            special.set(name, token.as_str().unwrap());
        }
        let now: Vec<u64> = serde_json::from_value(values["now"].clone()).unwrap();
        let now = LocalTime {
            year: now[0] as i32,
            month: now[1] as u8,
            day: now[2] as u8,
            hour: now[3] as u8,
            minute: now[4] as u8,
            second: now[5] as u8,
            microsecond: now[6] as u32,
        };
        Oracle { values, special, now }
    }

    fn messages(&self, name: &str) -> Vec<Message> {
        serde_json::from_value(self.values["conversations"][name].clone()).unwrap()
    }

    fn template(&self, source: &str) -> Result<ChatTemplate, TextError> {
        Ok(ChatTemplate::new(source, self.special.clone())?.at(self.now))
    }
}

#[test]
fn families_render_as_transformers_renders_them() {
    let oracle = Oracle::load();
    let mut templates = BTreeMap::new();
    let mut wrong = Vec::new();
    let cases = oracle.values["cases"].as_array().unwrap();
    for case in cases {
        let name = case["template"].as_str().unwrap();
        let template = templates
            .entry(name)
            .or_insert_with(|| oracle.template(&data(&format!("templates/{name}.jinja"))).unwrap_or_else(|e| panic!("{name}: {e}")));
        let messages = oracle.messages(case["messages"].as_str().unwrap());
        let tools: Option<Vec<Value>> = serde_json::from_value(oracle.values["tools"][case["tools"].as_str().unwrap()].clone()).unwrap();
        let extra = case["extra"].as_object().unwrap();
        let got = template.render(&messages, tools.as_deref(), case["add_generation_prompt"] == true, extra);
        let what = format!("{name} {} tools={} {}", case["messages"], case["tools"], case["extra"]);
        match (got, case["text"].as_str(), case["raises"].as_str()) {
            (Ok(got), Some(text), _) => {
                if got.text != text {
                    wrong.push(format!("{what}\n--- want\n{text}\n--- got\n{}", got.text));
                }
                // Python counts code points.
                let points = |byte: usize| got.text[..byte].chars().count() as u64;
                let spans: Vec<[u64; 2]> = got.generation_spans.iter().map(|s| [points(s.start), points(s.end)]).collect();
                if serde_json::to_value(&spans).unwrap() != case["spans"] {
                    wrong.push(format!("{what}\nspans want {} got {spans:?}", case["spans"]));
                }
            }
            (Err(TextError::TemplateRaised(got)), None, Some(want)) if got == want => {}
            (Err(TextError::TemplateRender { .. }), None, None) => {}
            (got, _, _) => wrong.push(format!("{what}\nwant {case}\ngot {got:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() > 200);
    assert!(cases.iter().any(|c| c["spans"].as_array().is_some_and(|s| s.len() > 1)), "no case has generation spans");
}

#[test]
fn jinja_and_python_features() {
    let oracle = Oracle::load();
    let messages = oracle.messages("system");
    let mut wrong = Vec::new();
    for snippet in oracle.values["snippets"].as_array().unwrap() {
        let (source, want) = (snippet["template"].as_str().unwrap(), snippet["text"].as_str().unwrap());
        match oracle.template(source).and_then(|t| t.render(&messages, None, false, &Map::new())) {
            Ok(got) if got.text == want => {}
            Ok(got) => wrong.push(format!("{source}\n  want {want:?}\n  got  {:?}", got.text)),
            Err(error) => wrong.push(format!("{source}\n  {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn failures_are_of_the_right_kind() {
    let oracle = Oracle::load();
    let messages = oracle.messages("system");
    for case in oracle.values["failing"].as_array().unwrap() {
        let source = case["template"].as_str().unwrap();
        let error = oracle.template(source).and_then(|t| t.render(&messages, None, false, &Map::new())).expect_err(source);
        match case["kind"].as_str().unwrap() {
            "raise" => assert!(matches!(&error, TextError::TemplateRaised(m) if *m == case["message"]), "{source}: {error}"),
            "syntax" => assert!(matches!(error, TextError::TemplateSyntax { line: Some(_), .. }), "{source}: {error:?}"),
            _ => assert!(matches!(error, TextError::TemplateRender { .. }), "{source}: {error:?}"),
        }
    }
}

#[test]
fn without_a_clock_templates_fall_back() {
    let special = SpecialTokens::new().with("bos_token", "<s>");
    let llama = ChatTemplate::new(&data("templates/llama31.jinja"), special.clone()).unwrap();
    let text = llama.render(&[Message::user("hi")], None, true, &Map::new()).unwrap().text;
    assert!(text.contains("Today Date: 26 Jul 2024"), "{text}");
    // A template that insists gets an error that says what is missing.
    let insists = ChatTemplate::new("{{ strftime_now('%d') }}", special).unwrap();
    let error = insists.render(&[], None, false, &Map::new()).unwrap_err();
    assert!(error.to_string().contains("date"), "{error}");
}

#[test]
fn messages_keep_null_absent_and_order() {
    let rows = r#"[{"role":"assistant","content":null,"tool_calls":[{"z":1,"a":2}],"name":"n","zeta":{"b":1,"a":2}},{"role":"user"},
        {"role":"user","content":[{"type":"text","text":"一"},{"type":"text","text":"二"}]}]"#;
    let messages: Vec<Message> = serde_json::from_str(rows).unwrap();
    let again: Vec<Value> = serde_json::from_str(rows).unwrap();
    assert_eq!(serde_json::to_string(&messages).unwrap(), serde_json::to_string(&again).unwrap());
    assert_eq!(messages[2].text(), "一二");
    let template = ChatTemplate::new(
        "{% for m in messages %}{{ m.content is defined }},{{ m.content is none }},{{ m.tool_calls is defined }};{% endfor %}",
        SpecialTokens::new(),
    )
    .unwrap();
    let text = template.render(&messages, None, false, &Map::new()).unwrap().text;
    assert_eq!(text, "True,True,True;False,False,False;True,False,False;");
}

#[test]
fn line_ends_of_windows_in_a_template() {
    let unix = data("templates/zephyr.jinja");
    let windows = unix.replace('\n', "\r\n");
    let render = |source: &str| {
        let special = SpecialTokens::new().with("eos_token", "</s>");
        ChatTemplate::new(source, special).unwrap().render(&[Message::user("a\r\nb")], None, true, &Map::new()).unwrap().text
    };
    assert_eq!(render(&windows), render(&unix));
    assert!(render(&unix).contains("a\r\nb"), "the user's own line ends stay");
}
