//! The head of a data set's README: the YAML between two `---` lines, of which `configs` says which files make up which split of
//! which configuration (Hugging Face's "Manual configuration" page). This module owns the YAML parser library.

use granit_parser::{Event, Parser};

/// Longest head that is read; the hub's own limit is far lower.
const LONGEST: usize = 1 << 20;

/// One configuration ("subset") of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Config {
    pub name: String,
    /// Declared to be the one taken when none is named.
    pub default: bool,
    /// The folder that patterns are relative to.
    pub data_dir: Option<String>,
    /// Splits in the order written, each with its file patterns; empty: to be inferred from file names.
    pub splits: Vec<(String, Vec<String>)>,
}

/// YAML reduced to what is needed: scalars stay text.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Node::Map(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text or a list of texts.
    fn texts(&self) -> Vec<String> {
        match self {
            Node::Text(text) => vec![text.clone()],
            Node::List(items) => items.iter().filter_map(Node::text).map(str::to_owned).collect(),
            Node::Map(_) => Vec::new(),
        }
    }
}

/// The configurations that the README declares; none is the usual case.
///
/// # Errors
/// The parser's words when the head is no YAML.
pub(crate) fn configs(readme: &str) -> Result<Vec<Config>, String> {
    let Some(head) = head(readme) else { return Ok(Vec::new()) };
    if head.len() > LONGEST {
        return Err("its head is too long to be read".into());
    }
    let root = parse(head)?;
    let Some(Node::List(items)) = root.get("configs") else { return Ok(Vec::new()) };
    Ok(items.iter().filter_map(config).collect())
}

fn head(readme: &str) -> Option<&str> {
    let text = readme.trim_start_matches('\u{feff}');
    let body = text.strip_prefix("---")?;
    let body = body.strip_prefix("\r\n").or_else(|| body.strip_prefix('\n'))?;
    let end = body.match_indices("\n---").find(|(at, m)| body[at + m.len()..].chars().next().is_none_or(|c| c == '\n' || c == '\r'))?.0;
    Some(&body[..=end])
}

fn config(node: &Node) -> Option<Config> {
    let name = node.get("config_name").and_then(Node::text).unwrap_or("default").to_owned();
    let default = node.get("default").and_then(Node::text).is_some_and(|t| t.eq_ignore_ascii_case("true"));
    let data_dir = node.get("data_dir").and_then(Node::text).map(|d| d.trim_start_matches("./").trim_matches('/').to_owned());
    let mut splits: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |split: &str, patterns: Vec<String>| {
        let patterns = patterns.into_iter().map(|p| p.trim_start_matches("./").to_owned());
        match splits.iter_mut().find(|(s, _)| s == split) {
            Some((_, known)) => known.extend(patterns),
            None => splits.push((split.to_owned(), patterns.collect())),
        }
    };
    match node.get("data_files") {
        Some(Node::Text(pattern)) => add("train", vec![pattern.clone()]),
        Some(Node::Map(entries)) => entries.iter().for_each(|(split, patterns)| add(split, patterns.texts())),
        Some(Node::List(items)) => {
            for item in items {
                match item {
                    Node::Text(pattern) => add("train", vec![pattern.clone()]),
                    item => {
                        let patterns = item.get("path").or_else(|| item.get("pattern")).map(Node::texts).unwrap_or_default();
                        add(item.get("split").and_then(Node::text).unwrap_or("train"), patterns);
                    }
                }
            }
        }
        None => {}
    }
    splits.retain(|(_, patterns)| !patterns.is_empty());
    // Without files and folder there is nothing to learn from the entry, but its name.
    Some(Config { name, default, data_dir, splits })
}

/// Builds the tree on a stack of its own, so that depth costs memory and not the thread's stack.
fn parse(yaml: &str) -> Result<Node, String> {
    enum Open {
        List(Vec<Node>),
        Map(Vec<(String, Node)>, Option<String>),
    }
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(yaml) {
        let (event, _) = event.map_err(|e| format!("line {}: {}", e.marker().line() + 1, e.info()))?;
        let done = match event {
            Event::Scalar(text, ..) => Node::Text(text.into_owned()),
            // What an alias stands for is never a file pattern in practice.
            Event::Alias(_) => Node::Text(String::new()),
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(Vec::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(items)) => Node::List(items),
                Some(Open::Map(entries, _)) => Node::Map(entries),
                None => continue,
            },
            _ => continue,
        };
        match open.last_mut() {
            None => return Ok(done),
            Some(Open::List(items)) => items.push(done),
            Some(Open::Map(entries, key)) => match key.take() {
                Some(key) => entries.push((key, done)),
                None => *key = Some(done.text().unwrap_or_default().to_owned()),
            },
        }
    }
    Ok(Node::Map(Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_forms_that_the_hub_documents() {
        let readme = "---\nlicense: unknown\ndataset_info:\n  features:\n  - name: text\n    dtype: string\nconfigs:\n- config_name: default\n  \
                      data_files:\n  - split: train\n    path: train.parquet\n  - split: test\n    path:\n    - a/*.parquet\n    - ./b/*.parquet\n\
                      - config_name: two\n  default: true\n  data_dir: ./two/\n- config_name: three\n  data_files: 'x/*.csv'\n- config_name: four\n  \
                      data_files: {dev: d.csv, train: [t.csv]}\n- config_name: five\n  data_files: [a.csv, b.csv]\n---\n# Card\n---\nconfigs: no\n";
        let read = configs(readme).unwrap();
        let s = |split: &str, patterns: &[&str]| (split.to_owned(), patterns.iter().map(|p| p.to_string()).collect::<Vec<_>>());
        assert_eq!(read[0].splits, [s("train", &["train.parquet"]), s("test", &["a/*.parquet", "b/*.parquet"])]);
        assert!(!read[0].default && read[1].default);
        assert_eq!(read[1].data_dir.as_deref(), Some("two"));
        assert_eq!(read[2].splits, [s("train", &["x/*.csv"])]);
        assert_eq!(read[3].splits, [s("dev", &["d.csv"]), s("train", &["t.csv"])]);
        assert_eq!(read[4].splits, [s("train", &["a.csv", "b.csv"])]);
        // Windows line ends.
        assert_eq!(configs(&readme.replace('\n', "\r\n")).unwrap(), read);
    }

    #[test]
    fn a_readme_without_a_head_declares_nothing() {
        for readme in
            ["", "# Title\n---\n", "---\nlicense: mit\n---\n", "---\nno end", "---\n---\n", "----\nconfigs:\n---\n", "---\nconfigs: x\n---"]
        {
            assert_eq!(configs(readme).unwrap(), [], "{readme:?}");
        }
        assert!(configs("---\na: [1\n---\n").is_err());
        assert!(configs(&format!("---\n{}\n---\n", "[".repeat(100_000))).is_err());
    }
}
