//! scratch
use dataset::*;
use std::{path::PathBuf, sync::Arc, time::Instant};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let task: TaskSpec = serde_json::from_str(r#"{"type":"classify","prompt":"Review: {text}\nSentiment:","labels":{"negative":{"from":[0,"neg"],"text":" negative"},"positive":{"from":[1,"pos"],"text":" positive"}}}"#).unwrap();
    let entry: SourceEntry = serde_json::from_str(&args[2]).unwrap();
    let t = Instant::now();
    let loaded = import::load(&[PathBuf::from(&args[1])], &entry, &task).unwrap();
    println!(
        "load {:?}: read {} filtered {} samples {} bad {} {:?}",
        t.elapsed(),
        loaded.read,
        loaded.filtered,
        loaded.samples.len(),
        loaded.bad.len(),
        loaded.label_counts()
    );
    for b in loaded.bad.iter().take(5) {
        println!("  {b}");
    }
    export::write_jsonl(&PathBuf::from("/tmp/ds_scratch/all.jsonl"), &loaded.samples).unwrap();
    let t = Instant::now();
    let spec = DatasetSpec { max_samples: args.get(4).and_then(|s| s.parse().ok()), ..DatasetSpec::new(vec![entry]) };
    let split = split::split(loaded.samples.clone(), &spec, 42).unwrap();
    println!("split {:?}: train {} heldout {} {:?}", t.elapsed(), split.train.len(), split.heldout.len(), split.duplicates);
    if let Some(gguf) = args.get(3) {
        let file = containers::GgufFile::open(std::path::Path::new(gguf)).unwrap();
        let t = Instant::now();
        let tok = Arc::new(text::Tokenizer::from_gguf(&file).unwrap());
        println!("tokenizer {:?}", t.elapsed());
        for cutoff in [1024, 256] {
            let r = Renderer::new(tok.clone(), tok.chat_template().unwrap(), task.clone(), cutoff, Truncation::Right).unwrap();
            let t = Instant::now();
            let rows = r.render_all(&split.train).unwrap();
            let p = preview::preview(&loaded, &split.train, &rows, &r, 1);
            println!(
                "render {:?} cutoff {cutoff}: {:?} truncated {} dropped {}",
                t.elapsed(),
                p.lengths,
                p.truncated.len(),
                p.dropped.len()
            );
            println!(
                "{}",
                p.rows[0]
                    .tokens
                    .iter()
                    .map(|t| if t.trained { format!("[{}]", t.text) } else { t.text.clone() })
                    .collect::<Vec<_>>()
                    .join("|")
            );
            println!("{:?}", p.rows[0].input_ids);
        }
        let sft: TaskSpec = serde_json::from_str(r#"{"type":"sft"}"#).unwrap();
        let r = Renderer::new(tok.clone(), tok.chat_template().unwrap(), sft, 1024, Truncation::Right).unwrap();
        let turns = ["user", "assistant", "user", "assistant"]
            .iter()
            .zip(["What is 12+30?", "42", "你好", "Hi 😀!"])
            .map(|(r, c)| Turn::from(text::Message::new(*r, c)))
            .collect();
        let s = Sample::new("x".into(), Origin { file: "f".into(), line: 1 }, SampleKind::Messages { turns, tools: None });
        let row = &r.render(&s).unwrap()[0];
        println!(
            "{}",
            preview::preview_row(&s, row, &tok)
                .tokens
                .iter()
                .map(|t| if t.trained { format!("[{}]", t.text) } else { t.text.clone() })
                .collect::<Vec<_>>()
                .join("|")
        );
    }
    let t = Instant::now();
    let i = inspect::inspect(&PathBuf::from(&args[1]), None).unwrap();
    println!("inspect {:?}: {:?} {:?} rows {} {:?}", t.elapsed(), i.format, i.encoding, i.rows, i.proposal);
}
