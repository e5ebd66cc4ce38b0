//! Predictions on rows held out, the wrong ones marked.

use super::data::{ReportData, SampleRow};
use super::html::{esc, percent, plural};

/// Labels shown with a bar when a task has many.
const MOST_BARS: usize = 5;

/// The section; empty without samples.
pub fn section(data: &ReportData) -> String {
    if data.samples.is_empty() {
        return String::new();
    }
    let rows: String = data.samples.iter().map(|s| if s.normalized.is_some() { classified(s) } else { continued(s) }).collect();
    let classes = data.samples.iter().filter(|s| s.normalized.is_some()).count();
    let wrong = data.samples.iter().filter(|s| s.normalized.is_some() && s.gold != s.predicted).count();
    let filter = if wrong > 0 && wrong < data.samples.len() {
        "<label class=\"filter\"><input type=\"checkbox\" id=\"only-wrong\"> Only the wrong ones</label>"
    } else {
        ""
    };
    let intro = if classes > 0 {
        format!("{} held out, {wrong} of them wrong. Bars are the tuned model's probabilities.", plural(data.samples.len() as u64, "row"))
    } else {
        format!("{} held out, as the model continues them.", plural(data.samples.len() as u64, "row"))
    };
    format!("<div class=\"samples\"><div class=\"bar\"><p>{intro}</p>{filter}</div>\n<ol>\n{rows}</ol></div>\n")
}

fn origin(s: &SampleRow) -> String {
    s.origin.as_ref().map_or(String::new(), |o| format!("<span class=\"origin\">{}</span>", esc(o)))
}

fn classified(s: &SampleRow) -> String {
    let right = s.gold == s.predicted;
    let mut bars: Vec<(&str, f64)> = s.normalized.iter().flat_map(|n| n.iter()).map(|(l, p)| (l, *p)).collect();
    if bars.len() > MOST_BARS {
        bars.sort_by(|a, b| b.1.total_cmp(&a.1));
        let gold = bars.iter().position(|b| b.0 == s.gold);
        let keep_gold = gold.filter(|&g| g >= MOST_BARS).map(|g| bars[g]);
        bars.truncate(if keep_gold.is_some() { MOST_BARS - 1 } else { MOST_BARS });
        bars.extend(keep_gold);
    }
    let bars: String = bars
        .iter()
        .map(|(label, p)| {
            let p = if p.is_finite() { p.clamp(0.0, 1.0) } else { 0.0 };
            let class = match (*label == s.predicted, *label == s.gold) {
                (true, true) => "top right",
                (true, false) => "top wrong",
                _ => "",
            };
            let gold = if *label == s.gold { "<span class=\"is-gold\">gold</span>" } else { "" };
            format!(
                "<li class=\"{class}\"><span class=\"l\" dir=\"auto\">{}{gold}</span><span class=\"p\"><i style=\"width:{:.1}%\"></i></span><span class=\"v\">{}%</span></li>",
                esc(label),
                100.0 * p,
                percent(p)
            )
        })
        .collect();
    let before = s.before.as_ref().map_or(String::new(), |b| {
        let (class, word) = if *b == s.gold { ("right", "right") } else { ("wrong", "wrong") };
        format!("<span class=\"then {class}\">before tuning: <b dir=\"auto\">{}</b>, {word}</span>", esc(b))
    });
    let mark = if right { "<span class=\"mark-right\">right</span>" } else { "<span class=\"mark-wrong\">wrong</span>" };
    format!(
        "<li class=\"card sample {class}\"><div class=\"said\">{mark}<p dir=\"auto\">{text}</p><p class=\"under\">{before}{origin}</p></div><ul class=\"probs\">{bars}</ul></li>\n",
        class = if right { "right" } else { "wrong" },
        text = esc(&s.text),
        origin = origin(s)
    )
}

fn continued(s: &SampleRow) -> String {
    let part = |class: &str, name: &str, text: &str| format!("<dt>{name}</dt><dd class=\"{class}\" dir=\"auto\">{}</dd>", esc(text));
    let mut parts = part("prompt", "prompt", &s.text);
    if !s.gold.is_empty() {
        parts += &part("gold", "the row says", &s.gold);
    }
    if let Some(b) = &s.before {
        parts += &part("was", "before tuning", b);
    }
    parts += &part("now", "tuned", &s.predicted);
    format!("<li class=\"card sample text\"><dl>{parts}</dl><p class=\"under\">{}</p></li>\n", origin(s))
}
