//! Inputs made from inputs: bytes turned, cut, doubled and mixed; values of JSON trees; parts of zip archives.

use std::io::{Cursor, Read, Write};

use serde_json::Value;

/// Random numbers (SplitMix64, Steele et al. 2014): the same inputs for the same seed on every machine.
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 for 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.number() % n.max(1) as u64) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.below(all.len())) }
    }
}

/// Longest mutant.
const LONGEST: usize = 1 << 20;

/// A mutant of one of `corpus`, which is not empty.
pub fn mutate(random: &mut Random, corpus: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let seed = random.pick(corpus).cloned().unwrap_or_default();
    let mut out = if seed.starts_with(b"PK") && !random.chance(8) {
        archive(random, &seed, words)
    } else if matches!(seed.first(), Some(b'{' | b'[')) && !random.chance(3) {
        json(random, &seed, corpus).unwrap_or(seed)
    } else {
        let mut seed = seed;
        bytes(random, &mut seed, corpus, words);
        seed
    };
    out.truncate(LONGEST);
    out
}

/// A few changes to bytes.
fn bytes(random: &mut Random, input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str]) {
    let bits = random.below(5);
    for _ in 0..=random.below(1 << bits) {
        let at = random.below(input.len() + 1);
        let bits = random.below(10);
        let end = (at + random.below(1 << bits)).min(input.len());
        match random.below(12) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.number() as u8,
            2 if at < input.len() => {
                input[at] = *random.pick(&[0, 0xFF, b'0', b'9', b' ', b'\n', b'<', b'(', b'"', b'\\', 0x80]).unwrap_or(&0)
            }
            3 => drop(input.drain(at..end)),
            4 => {
                let part = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, part);
            }
            5 => {
                // The same again and again: depth and length.
                let part = input[at..end.min(at + 64)].to_vec();
                let times = 1 << random.below(12);
                if part.len() * times < LONGEST / 4 {
                    input.splice(at..at, part.repeat(times));
                }
            }
            6 => {
                let other = random.pick(corpus).cloned().unwrap_or_default();
                let from = random.below(other.len() + 1);
                let bits = random.below(12);
                let to = (from + random.below(1 << bits)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            7 | 8 => {
                let word = random.pick(words).copied().unwrap_or("0");
                let end = if random.chance(2) { at } else { (at + word.len()).min(input.len()) };
                input.splice(at..end, word.bytes());
            }
            9 => number(random, input, at),
            10 => input.truncate(at.max(1)),
            _ => {
                let line = |i: &[u8], from: usize| i[from..].iter().position(|b| *b == b'\n').map_or(i.len(), |n| from + n + 1);
                let start = line(input, at.min(input.len()));
                let stop = line(input, start);
                let copied = input[start..stop].to_vec();
                if random.chance(2) {
                    input.drain(start..stop);
                } else {
                    input.splice(start..start, copied);
                }
            }
        }
        if input.len() > LONGEST {
            input.truncate(LONGEST);
        }
    }
}

/// Another number where the next one stands.
fn number(random: &mut Random, input: &mut Vec<u8>, at: usize) {
    let Some(start) = input[at.min(input.len())..].iter().position(u8::is_ascii_digit).map(|n| at + n) else { return };
    let stop = input[start..].iter().position(|b| !b.is_ascii_digit()).map_or(input.len(), |n| start + n);
    let old: i64 = String::from_utf8_lossy(&input[start..stop]).parse().unwrap_or(0);
    let new = match random.below(6) {
        0 => old.wrapping_add(1).to_string(),
        1 => old.wrapping_sub(1).to_string(),
        2 => random.below(20).to_string(),
        3 => (random.number() as u32).to_string(),
        4 => random
            .pick(&[
                "-1",
                "0",
                "65536",
                "2147483647",
                "4294967295",
                "4294967296",
                "9223372036854775807",
                "99999999999999999999",
                "1e38",
                "-0.0",
            ])
            .map_or(String::new(), |s| (*s).to_owned()),
        _ => old.wrapping_mul(1000).to_string(),
    };
    input.splice(start..stop, new.bytes());
}

/// A change to a tree of JSON, or to one of several lines of trees.
fn json(random: &mut Random, input: &[u8], corpus: &[Vec<u8>]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(input).ok()?;
    let (before, line, after) = match serde_json::from_str::<Value>(text) {
        Ok(value) => (String::new(), value, String::new()),
        Err(_) => {
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let i = random.below(lines.len());
            let value = serde_json::from_str(lines[i]).ok()?;
            (lines[..i].concat(), value, format!("\n{}", lines[i + 1..].concat()))
        }
    };
    let mut line = line;
    for _ in 0..=random.below(3) {
        let donor = random.pick(corpus).and_then(|c| serde_json::from_slice::<Value>(c).ok()).unwrap_or(Value::Null);
        let donated = node(&donor, random.below(count(&donor))).cloned().unwrap_or(Value::Null);
        let n = random.below(count(&line));
        if let Some(at) = node_mut(&mut line, n) {
            change(random, at, donated);
        }
    }
    let line = serde_json::to_string(&line).ok()?;
    Some(format!("{before}{line}{after}").into_bytes())
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => Box::new(std::iter::empty()),
    }
}

fn count(value: &Value) -> usize {
    1 + children(value).map(count).sum::<usize>()
}

fn node(value: &Value, n: usize) -> Option<&Value> {
    let mut left = n;
    if left == 0 {
        return Some(value);
    }
    left -= 1;
    for child in children(value) {
        let size = count(child);
        if left < size {
            return node(child, left);
        }
        left -= size;
    }
    None
}

fn node_mut(value: &mut Value, n: usize) -> Option<&mut Value> {
    let mut left = n;
    if left == 0 {
        return Some(value);
    }
    left -= 1;
    let children: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => Vec::new(),
    };
    for child in children {
        let size = count(child);
        if left < size {
            return node_mut(child, left);
        }
        left -= size;
    }
    None
}

const STRINGS: &[&str] =
    &["", " ", "😀", "e\u{301}x", "a\r\nb", "北京", "\u{feff}", "T1", "0", "-1", "accept", "reject", "ignore", "\u{0}", "\"", "#", "\t"];

fn change(random: &mut Random, at: &mut Value, donated: Value) {
    let pick = random.below(8);
    match (at, pick) {
        (Value::Array(items), 0..=3) => {
            let i = random.below(items.len());
            match pick {
                0 if !items.is_empty() => drop(items.remove(i)),
                1 if !items.is_empty() => {
                    let copy = items[i].clone();
                    items.insert(i, copy);
                }
                2 => items.reverse(),
                _ => items.insert(i, donated),
            }
        }
        (Value::Object(fields), 0..=3) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            let Some(key) = random.pick(&keys).cloned() else { return };
            match pick {
                0 | 1 => drop(fields.shift_remove(&key)),
                2 => {
                    // Under another key of its kind.
                    let other = random.pick(&keys).cloned().unwrap_or_default();
                    let value = fields.get(&key).cloned().unwrap_or_default();
                    fields.insert(other, value);
                }
                _ => drop(fields.insert(key, donated)),
            }
        }
        (Value::Number(n), 0..=5) => {
            let old = n.as_i64().unwrap_or(0);
            let new = match pick {
                0 => old.wrapping_add(1),
                1 => old.wrapping_sub(1),
                2 => random.below(30) as i64,
                3 => old.wrapping_neg(),
                4 => random.number() as i64,
                _ => i64::MAX,
            };
            *n = new.into();
        }
        (Value::String(s), 0..=4) => match pick {
            0 => *s = (*random.pick(STRINGS).unwrap_or(&"")).to_owned(),
            1 => s.push_str(random.pick(STRINGS).unwrap_or(&"")),
            2 => drop(s.pop()),
            3 => *s = s.chars().rev().collect(),
            _ => {
                let twice = s.repeat(2);
                s.insert_str(0, &twice);
            }
        },
        (at, _) => {
            *at = match random.below(7) {
                0 => Value::Null,
                1 => Value::Bool(true),
                2 => (random.number() as i64 >> random.below(64)).into(),
                3 => 0.5.into(),
                4 => Value::Array(vec![donated]),
                5 => Value::String((*random.pick(STRINGS).unwrap_or(&"")).to_owned()),
                _ => donated,
            };
        }
    }
}

/// An archive with one part changed, stored without compression.
fn archive(random: &mut Random, input: &[u8], words: &[&str]) -> Vec<u8> {
    let Ok(mut zip) = zip::ZipArchive::new(Cursor::new(input)) else { return input.to_vec() };
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    for i in 0..zip.len() {
        let Ok(file) = zip.by_index(i) else { continue };
        let Ok(name) = file.name().map(|n| n.into_owned()) else { continue };
        let mut bytes = Vec::new();
        if file.take(LONGEST as u64).read_to_end(&mut bytes).is_ok() {
            parts.push((name, bytes));
        }
    }
    let all: Vec<Vec<u8>> = parts.iter().map(|(_, b)| b.clone()).collect();
    if !parts.is_empty() {
        let i = random.below(parts.len());
        if random.chance(20) {
            parts.remove(i);
        } else {
            bytes(random, &mut parts[i].1, &all, words);
        }
    }
    let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        if out.start_file(name, options).is_ok() {
            // Into memory.
            let _ = out.write_all(&bytes);
        }
    }
    out.finish().map_or_else(|_| input.to_vec(), Cursor::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutants_differ_repeat_for_a_seed_and_mostly_stay_what_they_are() {
        let corpus = vec![br#"{"text":"Ann runs","label":[[0,3,"PER"]],"meta":{"a":1}}"#.to_vec()];
        let of = |seed| {
            let mut random = Random::new(seed);
            (0..300).map(|_| mutate(&mut random, &corpus, &["x"])).collect::<Vec<_>>()
        };
        let mutants = of(7);
        assert_eq!(mutants, of(7));
        assert_ne!(mutants, of(8));
        let trees = mutants.iter().filter(|m| serde_json::from_slice::<Value>(m).is_ok()).count();
        assert!(trees > 150, "{trees}");
        assert!(mutants.iter().filter(|m| **m != corpus[0]).count() > 250);
    }

    #[test]
    fn archives_stay_archives() {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("a.xml", zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"<a><b>text</b></a>").unwrap();
        let corpus = vec![zip.finish().unwrap().into_inner()];
        let mut random = Random::new(3);
        let whole = (0..100).filter(|_| zip::ZipArchive::new(Cursor::new(mutate(&mut random, &corpus, &["<a>"]))).is_ok()).count();
        assert!(whole > 70, "{whole}");
    }
}
