//! What came of it: verdict, cards, scores by class, confusion matrices.

use super::data::ReportData;
use super::html::{duration, esc, millions, number, percent, plural, thousands};
use crate::intervals::Interval;
use crate::labels::Labelled;
use crate::results::{Confidence, EvalReport};

/// One sentence that says whether tuning helped, no surer than the rows allow.
pub fn verdict(data: &ReportData) -> String {
    let (class, badge, text) = match (&data.before, &data.after) {
        (Some(EvalReport { accuracy: Some(a), .. }), Some(EvalReport { accuracy: Some(b), n, .. })) => accuracy_verdict(data, *a, *b, *n),
        (_, Some(EvalReport { accuracy: Some(b), n, .. })) => (
            "plain",
            "",
            format!("The tuned model is right on <strong>{}%</strong> of {} never trained on.", percent(*b), plural(*n as u64, "row")),
        ),
        (Some(EvalReport { loss: Some(a), .. }), Some(EvalReport { loss: Some(b), n, .. })) => loss_verdict(data, *a, *b, *n),
        (_, Some(EvalReport { loss: Some(b), n, .. })) => {
            ("plain", "", format!("The loss on {} never trained on is <strong>{}</strong>.", plural(*n as u64, "row"), number(*b)))
        }
        _ => match &data.training {
            Some(t) => (
                "plain",
                "",
                format!("Trained for {}; nothing was evaluated, so nothing is known about rows never seen.", plural(t.steps, "step")),
            ),
            None => return String::new(),
        },
    };
    let badge = if badge.is_empty() { String::new() } else { format!("<span class=\"badge\">{badge}</span> ") };
    format!("<p class=\"verdict {class}\">{badge}{text}</p>")
}

fn loss_verdict(data: &ReportData, a: f64, b: f64, n: usize) -> (&'static str, &'static str, String) {
    let verb = if b < a { "fell" } else { "went" };
    let rows = plural(n as u64, "row");
    let perplexity = format!("perplexity {} to {}", number(a.exp()), number(b.exp()));
    let sentence = format!("Loss on {rows} never trained on {verb} from {} to <strong>{}</strong>", number(a), number(b));
    let Some(d) = &data.loss_change else {
        return ("plain", "", format!("{sentence} ({perplexity})."));
    };
    let change =
        format!("change {}, 95% interval {} to {}; {perplexity}", signed(d.mean, 3), signed(d.interval.low, 3), signed(d.interval.high, 3));
    if d.interval.high < 0.0 {
        ("good", "better", format!("{sentence} ({change})."))
    } else if d.interval.low > 0.0 {
        ("bad", "worse", format!("{sentence} ({change})."))
    } else {
        ("plain", "no clear change", format!("{sentence} ({change}): with this many rows, chance alone could explain it."))
    }
}

fn accuracy_verdict(data: &ReportData, a: f64, b: f64, n: usize) -> (&'static str, &'static str, String) {
    let rows = plural(n as u64, "row");
    let moved = if b > a {
        "rose"
    } else if b < a {
        "fell"
    } else {
        "stayed"
    };
    let sentence = if b == a {
        format!("Accuracy on {rows} never trained on stayed at <strong>{}%</strong>", percent(b))
    } else {
        format!("Accuracy on {rows} never trained on {moved} from {}% to <strong>{}%</strong>", percent(a), percent(b))
    };
    let Some(d) = &data.accuracy_change else {
        return ("plain", "", format!("{sentence}."));
    };
    let change = format!(
        "{} points, 95% interval {} to {}",
        signed(100.0 * d.mean, 1),
        signed(100.0 * d.interval.low, 1),
        signed(100.0 * d.interval.high, 1)
    );
    if d.interval.low > 0.0 {
        ("good", "better", format!("{sentence} ({change})."))
    } else if d.interval.high < 0.0 {
        ("bad", "worse", format!("{sentence} ({change})."))
    } else {
        ("plain", "no clear change", format!("{sentence} ({change}): with this many rows, chance alone could explain it."))
    }
}

/// `+7.2`, `−0.4` with a true minus sign.
fn signed(x: f64, decimals: usize) -> String {
    let size = format!("{:.decimals$}", x.abs());
    // What rounds to zero has no sign.
    let zero = size.bytes().all(|b| matches!(b, b'0' | b'.'));
    format!(
        "{}{size}",
        if zero {
            "±"
        } else if x < 0.0 {
            "\u{2212}"
        } else {
            "+"
        }
    )
}

/// Cards, scores and confusion matrices.
pub fn result(data: &ReportData) -> String {
    let mut out = cards(data);
    let matrices: Vec<String> = [("Before", &data.before), ("After", &data.after)]
        .into_iter()
        .filter_map(|(name, r)| r.as_ref().and_then(|r| r.confusion.as_ref()).map(|c| confusion(name, c)))
        .collect();
    out += &per_class(data);
    if !matrices.is_empty() {
        out += &format!("<div class=\"matrices\">{}</div>\n", matrices.concat());
    }
    out
}

fn card(class: &str, name: &str, value: &str, unit: &str, note: &str) -> String {
    let unit = if unit.is_empty() { String::new() } else { format!("<small>{unit}</small>") };
    let note = if note.is_empty() { String::new() } else { format!("<p>{note}</p>") };
    format!("<div class=\"card stat {class}\"><h3>{name}</h3><p class=\"big\">{value}{unit}</p>{note}</div>\n")
}

fn cards(data: &ReportData) -> String {
    let mut out = String::new();
    let report_rows = data.data.train_rows;
    let of = |r: &Option<EvalReport>, f: fn(&EvalReport) -> Option<f64>| r.as_ref().and_then(f);
    let change = |before: Option<f64>, after: f64, show: fn(f64) -> String| match before {
        Some(b) => format!("<span class=\"was\">{}</span><span class=\"to\" aria-label=\"to\">→</span>{}", show(b), show(after)),
        None => show(after),
    };
    let classifies = of(&data.after, |r| r.accuracy).is_some();
    if let Some(after) = of(&data.after, |r| r.accuracy) {
        let scale = whiskers(data, |r| r.accuracy, |c| c.accuracy, percent, 100.0, Some(1.0));
        out += &card("hero", "Accuracy", &change(of(&data.before, |r| r.accuracy), after, percent), "%", &scale);
    }
    if let Some(after) = of(&data.after, |r| r.loss) {
        let value = change(of(&data.before, |r| r.loss), after, number);
        out += &if classifies {
            let ci = data.after.as_ref().and_then(|r| r.confidence.as_ref()).and_then(|c| c.loss);
            let note = ci.map_or(String::new(), |i| format!("95% interval {} to {}", number(i.low), number(i.high)));
            card("", "Log loss", &value, "", &note)
        } else {
            card("hero", "Loss", &value, "nats/token", &whiskers(data, |r| r.loss, |c| c.loss, number, 1.0, None))
        };
    }
    if let Some(after) = of(&data.after, |r| r.perplexity) {
        let ci = data.after.as_ref().and_then(|r| r.confidence.as_ref()).and_then(|c| c.perplexity);
        let note = ci.map_or(String::new(), |i| format!("95% interval {} to {}", number(i.low), number(i.high)));
        out += &card(
            "",
            "Perplexity",
            &change(of(&data.before, |r| r.perplexity), after, |p| if p < 100.0 { format!("{p:.2}") } else { number(p) }),
            "",
            &note,
        );
    }
    if let Some(t) = &data.training {
        let (value, unit) = duration(t.seconds);
        out += &card("", "Training time", &value, unit, "the loop alone");
        out += &card(
            "",
            "Speed",
            &thousands(t.tokens_per_second.max(0.0).round() as u64),
            "tokens/s",
            &format!("{} trained", plural(t.trained_tokens, "token")),
        );
        if let Some(mb) = t.peak_rss_mb {
            let (v, u) = if mb >= 1024.0 { (format!("{:.2}", mb / 1024.0), "GiB") } else { (format!("{mb:.0}"), "MiB") };
            out += &card("", "Peak memory", &v, u, "of the whole process");
        }
        let note = format!("{} epoch{}", trimmed(t.epochs), if t.epochs == 1.0 { "" } else { "s" });
        out += &card("", "Steps", &thousands(t.steps), "", &note);
        if t.total_parameters > 0 {
            let share = 100.0 * t.trainable_parameters as f64 / t.total_parameters as f64;
            let share = if share < 10.0 { format!("{share:.2}") } else { format!("{share:.0}") };
            let value = millions(t.trainable_parameters);
            let (value, unit) = value.split_once(' ').map_or((value.as_str(), ""), |(v, u)| (v, u));
            out += &card("", "Trained parameters", value, unit, &format!("{share}% of {}", millions(t.total_parameters)));
        }
        if let Some(loss) = t.train_loss.filter(|l| l.is_finite()) {
            out += &card("", "Training loss", &number(loss), "", "mean over the run");
        }
        if report_rows > 0 {
            let note = format!("{} held out", thousands(data.data.heldout_rows as u64));
            out += &card("", "Rows trained on", &thousands(report_rows as u64), "", &note);
        }
    }
    let notes: String = data.training.iter().flat_map(|t| &t.notes).map(|n| format!("<li>{}</li>", esc(n))).collect();
    let notes = if notes.is_empty() { notes } else { format!("<ul class=\"notes\">{notes}</ul>\n") };
    if out.is_empty() { notes } else { format!("<div class=\"cards\">\n{out}</div>\n{notes}") }
}

fn trimmed(x: f64) -> String {
    let s = format!("{x:.2}");
    s.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A number before and after with its intervals on one scale, which is labelled in `unit` times the number.
fn whiskers(
    data: &ReportData,
    value: fn(&EvalReport) -> Option<f64>,
    interval: fn(&Confidence) -> Option<Interval>,
    show: fn(f64) -> String,
    unit: f64,
    highest: Option<f64>,
) -> String {
    let rows: Vec<(&str, f64, Option<Interval>)> = [("before", &data.before), ("after", &data.after)]
        .into_iter()
        .filter_map(|(name, r)| {
            let r = r.as_ref()?;
            Some((name, value(r)?, r.confidence.as_ref().and_then(interval)))
        })
        .collect();
    let low = rows.iter().map(|r| r.2.map_or(r.1, |i| i.low)).fold(f64::INFINITY, f64::min);
    let high = rows.iter().map(|r| r.2.map_or(r.1, |i| i.high)).fold(f64::NEG_INFINITY, f64::max);
    if !(low.is_finite() && high.is_finite()) {
        return String::new();
    }
    let ticks = super::chart::ticks(low, high, 4);
    let to = ticks[ticks.len() - 1].min(highest.unwrap_or(f64::INFINITY));
    let from = ticks[0].max(0.0).min(to - 1e-6);
    let at = |x: f64| (100.0 * (x - from) / (to - from)).clamp(0.0, 100.0);
    let lines: String = rows
        .iter()
        .map(|(name, x, i)| {
            let bar = i.map_or(String::new(), |i| format!("<i style=\"left:{:.2}%;width:{:.2}%\"></i>", at(i.low), at(i.high) - at(i.low)));
            let words = i.map_or(String::new(), |i| format!("{} – {}", show(i.low), show(i.high)));
            format!("<span class=\"w-name\">{name}</span><span class=\"w-bar {name}\">{bar}<b style=\"left:{:.2}%\"></b></span><span class=\"w-ci\">{words}</span>", at(*x))
        })
        .collect();
    let scale: String = ticks
        .iter()
        .filter(|t| (from..=to + 1e-9).contains(*t))
        .step_by(if ticks.len() > 4 { 2 } else { 1 })
        .map(|t| {
            let x = at(*t);
            let edge = if x < 4.0 {
                " class=\"first\""
            } else if x > 96.0 {
                " class=\"last\""
            } else {
                ""
            };
            format!("<span{edge} style=\"left:{x:.2}%\">{}</span>", trimmed(unit * t))
        })
        .collect();
    let n = data.after.as_ref().map_or(0, |r| r.n);
    format!(
        "<span class=\"whiskers\">{lines}<span class=\"w-name\"></span><span class=\"w-scale\" aria-hidden=\"true\">{scale}</span></span>\
         <span class=\"w-note\">95% bootstrap interval over {} held out</span>",
        plural(n as u64, "row")
    )
}

/// Precision, recall and F1 of each class, before and after.
fn per_class(data: &ReportData) -> String {
    let Some(after) = data.after.as_ref().and_then(|r| r.per_class.as_ref()) else { return String::new() };
    let before = data.before.as_ref().and_then(|r| r.per_class.as_ref());
    let pair = |a: Option<f64>, b: f64| match a {
        Some(a) => format!("<td class=\"g\"><span class=\"was\">{}</span></td><td>{}</td>", percent(a), percent(b)),
        None => format!("<td class=\"g\">{}</td>", percent(b)),
    };
    let f1 = |a: Option<f64>, b: f64, ci: Option<Interval>| {
        let delta = a.map_or(String::new(), |a| {
            let d = 100.0 * (b - a);
            let class = if d > 0.05 {
                "up"
            } else if d < -0.05 {
                "down"
            } else {
                "same"
            };
            format!("<td class=\"delta {class}\">{}</td>", signed(d, 1))
        });
        let ci = ci.map_or("<td></td>".to_owned(), |i| format!("<td class=\"ci\">{} – {}</td>", percent(i.low), percent(i.high)));
        format!("{}{delta}{ci}", pair(a, b))
    };
    let confidence = data.after.as_ref().and_then(|r| r.confidence.as_ref());
    let mut rows = String::new();
    for (label, a) in after.iter() {
        let b = before.and_then(|b| b.get(label));
        let ci = confidence.and_then(|c| c.per_class.as_ref()).and_then(|c| c.get(label)).and_then(|c| c.f1);
        rows += &format!(
            "<tr><th scope=\"row\" dir=\"auto\">{}</th><td>{}</td>{}{}{}</tr>\n",
            esc(label),
            thousands(a.support),
            pair(b.map(|b| b.precision), a.precision),
            pair(b.map(|b| b.recall), a.recall),
            f1(b.map(|b| b.f1), a.f1, ci)
        );
    }
    for (name, after, before, ci) in [
        (
            "macro average",
            data.after.as_ref().and_then(|r| r.macro_avg),
            data.before.as_ref().and_then(|r| r.macro_avg),
            confidence.and_then(|c| c.macro_avg).and_then(|m| m.f1),
        ),
        (
            "micro average",
            data.after.as_ref().and_then(|r| r.micro_avg),
            data.before.as_ref().and_then(|r| r.micro_avg),
            confidence.and_then(|c| c.accuracy),
        ),
    ] {
        if let Some(a) = after {
            let before = before.filter(|_| data.before.as_ref().is_some_and(|r| r.per_class.is_some()));
            rows += &format!(
                "<tr class=\"avg\"><th scope=\"row\">{name}</th><td>{}</td>{}{}{}</tr>\n",
                thousands(data.after.as_ref().map_or(0, |r| r.n as u64)),
                pair(before.map(|b| b.precision), a.precision),
                pair(before.map(|b| b.recall), a.recall),
                f1(before.map(|b| b.f1), a.f1, ci)
            );
        }
    }
    let (span, sub) = if before.is_some() {
        (2, "<th scope=\"col\" class=\"g\">before</th><th scope=\"col\">after</th>".to_owned())
    } else {
        (1, "<th scope=\"col\" class=\"g\">after</th>".to_owned())
    };
    let f1_span = if before.is_some() { 4 } else { 2 };
    let delta = if before.is_some() { "<th scope=\"col\">change</th>" } else { "" };
    format!(
        "<div class=\"card table\" role=\"region\" aria-label=\"Scores by class\" tabindex=\"0\"><table class=\"scores\"><caption>Scores by class <small>per cent</small></caption>\
         <thead><tr><td></td><th scope=\"col\" rowspan=\"2\">rows</th><th scope=\"colgroup\" colspan=\"{span}\"><span>precision</span></th>\
         <th scope=\"colgroup\" colspan=\"{span}\"><span>recall</span></th><th scope=\"colgroup\" colspan=\"{f1_span}\"><span>F1</span></th></tr>\n\
         <tr><td></td>{sub}{sub}{sub}{delta}<th scope=\"col\">95% interval</th></tr></thead>\n<tbody>{rows}</tbody></table></div>\n"
    )
}

/// A confusion matrix as a heat map: a cell's strength is its share of its row (of the rows of that gold class).
fn confusion(name: &str, matrix: &Labelled<Labelled<u64>>) -> String {
    let labels: Vec<&str> = matrix.iter().map(|r| r.0).collect();
    let head: String = labels.iter().map(|l| format!("<th scope=\"col\" dir=\"auto\"><span>{}</span></th>", esc(l))).collect();
    let mut body = String::new();
    for (gold, row) in matrix.iter() {
        let total: u64 = row.iter().map(|c| c.1).sum();
        let cells: String = row
            .iter()
            .map(|(predicted, &count)| {
                let share = if total == 0 { 0.0 } else { count as f64 / total as f64 };
                let class = if predicted == gold { "hit" } else { "miss" };
                let strong = if share > 0.6 { " strong" } else { "" };
                format!(
                    "<td class=\"{class}{strong}\" style=\"--s:{:.0}%\" title=\"{} {} called {}: {} of {}\"><b>{}</b><span>{:.0}%</span></td>",
                    // Nothing is nothing; a single row is visible.
                    if count == 0 { 0.0 } else { 6.0 + 84.0 * share },
                    thousands(count),
                    esc(gold),
                    esc(predicted),
                    thousands(count),
                    thousands(total),
                    thousands(count),
                    100.0 * share
                )
            })
            .collect();
        body += &format!("<tr><th scope=\"row\" dir=\"auto\">{}</th>{cells}</tr>\n", esc(gold));
    }
    let size = if labels.len() > 6 { " many" } else { "" };
    format!(
        "<figure class=\"card matrix{size}\"><figcaption><h3>{name} <small>rows by gold label and predicted label</small></h3></figcaption>\
         <div class=\"scroll\" role=\"region\" aria-label=\"Confusion matrix, {name}\" tabindex=\"0\"><table><thead><tr><td class=\"corner\"><span>predicted →</span>gold ↓</td>{head}</tr></thead>\n<tbody>{body}</tbody></table></div></figure>\n"
    )
}
