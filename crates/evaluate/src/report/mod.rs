//! The report of a run: one HTML file that explains itself, opens anywhere and asks nothing of the network.
//!
//! [`render`] is a plain function from [`ReportData`] to a string; who calls it gathers the data and writes the
//! file. Styles and charts (inline SVG) are in the page; a content security policy in it forbids everything else.
//! Whatever comes from the user (texts, labels, paths) is escaped in one place, [`html::esc`].
//!
//! | module | part of the page |
//! |---|---|
//! | `data` (this file's types) | what a report is made of |
//! | `outcome` | verdict, cards, per-class table, confusion matrices |
//! | `chart` | line charts and histogram |
//! | `samples` | predictions on rows held out |
//! | `facts` | data summary, settings, versions, commands |

mod chart;
mod data;
mod facts;
mod html;
mod outcome;
mod samples;

pub use data::{
    Command, CurvePoint, DataSummary, Dropped, Fact, LabelCount, LengthBin, LengthStats, ReportData, SampleRow, Setting, SettingGroup,
    TrainingSummary,
};
use html::esc;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// A tuning fork.
const MARK: &str = r#"<svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><path d="M8 2v8a4 4 0 0 0 8 0V2M12 14v8" fill="none" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"/></svg>"#;

/// The whole page. Same data, same bytes.
pub fn render(data: &ReportData) -> String {
    let sections: Vec<(&str, &str, String)> = vec![
        ("result", "Result", outcome::result(data)),
        ("training", "Training", training(data)),
        ("predictions", "Predictions", samples::section(data)),
        ("data", "Data", facts::data(data)),
        ("settings", "Settings", facts::settings(data)),
        ("provenance", "Provenance", facts::provenance(data)),
        ("next", "Reproduce and go on", facts::commands(data)),
    ];
    let present: Vec<_> = sections.into_iter().filter(|s| !s.2.is_empty()).collect();
    let nav: String = present.iter().map(|(id, title, _)| format!("<a href=\"#{id}\">{title}</a>")).collect();
    let body: String = present
        .iter()
        .map(|(id, title, html)| {
            format!("<section id=\"{id}\" aria-labelledby=\"{id}-h\"><h2 id=\"{id}-h\">{title}</h2>\n{html}</section>\n")
        })
        .collect();
    let title = match &data.title {
        Some(t) => esc(t),
        None => format!("{} tuned on {}", esc(&data.model), esc(&data.dataset)),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{title} · Tunesmith</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">Skip to the result</a>\n\
         {header}\n<nav aria-label=\"Sections\">{nav}</nav>\n<main id=\"main\">\n{body}</main>\n\
         <footer>{MARK}<p>Written by Tunesmith{version}. This page is self-contained: it loads nothing and sends nothing.</p></footer>\n\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        header = header(data),
        version = data.version.as_ref().map_or(String::new(), |v| format!(" {}", esc(v))),
    )
}

/// What was tuned on what, and what came of it.
fn header(data: &ReportData) -> String {
    let heading = match &data.title {
        Some(t) => esc(t),
        None => format!("{} <span class=\"on\">tuned on</span> {}", esc(&data.model), esc(&data.dataset)),
    };
    let mut meta: Vec<String> = Vec::new();
    if data.title.is_some() {
        meta.push(format!("{} on {}", esc(&data.model), esc(&data.dataset)));
    }
    meta.extend([&data.method, &data.task].into_iter().filter(|s| !s.is_empty()).map(|s| esc(s)));
    if let Some(date) = &data.created {
        meta.push(esc(date));
    }
    let meta: String = meta.iter().map(|m| format!("<li>{m}</li>")).collect();
    format!(
        "<header>\n<p class=\"brand\">{MARK}Tunesmith <span>run report</span></p>\n<h1 dir=\"auto\">{heading}</h1>\n\
         <ul class=\"meta\">{meta}</ul>\n{verdict}\n</header>",
        verdict = outcome::verdict(data),
    )
}

/// Curves of the run.
fn training(data: &ReportData) -> String {
    let pick = |f: fn(&CurvePoint) -> Option<f64>| -> Vec<(f64, f64)> {
        data.curve.iter().filter_map(|p| f(p).filter(|v| v.is_finite()).map(|v| (p.step as f64, v))).collect()
    };
    let (loss, eval_loss) = (pick(|p| p.loss), pick(|p| p.eval_loss));
    let accuracy = pick(|p| p.eval_accuracy.map(|a| 100.0 * a));
    let epochs = epoch_borders(&data.curve);
    let at = |p: Option<&CurvePoint>| p.map_or(0.0, |p| p.step as f64);
    let steps = (at(data.curve.first()), at(data.curve.last()));
    let mut charts = String::new();
    if loss.len() > 1 {
        let mut series = chart::smoothed("training loss", &loss);
        if !eval_loss.is_empty() {
            series.push(chart::Series::marked("held-out loss", eval_loss));
        }
        charts +=
            &chart::Chart { title: "Loss", unit: "nats per trained token", wide: true, from_zero: false, steps, epochs: &epochs, series }
                .render();
    }
    if accuracy.len() > 1 {
        let series = vec![chart::Series::marked("held-out accuracy", accuracy)];
        charts += &chart::Chart {
            title: "Accuracy",
            unit: "per cent of the rows held out",
            wide: true,
            from_zero: false,
            steps,
            epochs: &epochs,
            series,
        }
        .render();
    }
    for (title, unit, name, points) in [
        ("Learning rate", "", "learning rate", pick(|p| p.learning_rate)),
        ("Gradient norm", "before clipping", "gradient norm", pick(|p| p.grad_norm)),
    ] {
        if points.len() > 1 {
            let series = if name == "learning rate" { vec![chart::Series::line(name, points)] } else { chart::smoothed(name, &points) };
            charts += &chart::Chart { title, unit, wide: false, from_zero: true, steps, epochs: &epochs, series }.render();
        }
    }
    if charts.is_empty() { charts } else { format!("<div class=\"charts\">{charts}</div>\n") }
}

/// Steps at which a new epoch begins.
fn epoch_borders(curve: &[CurvePoint]) -> Vec<f64> {
    let mut borders = Vec::new();
    for pair in curve.windows(2) {
        if let (Some(a), Some(b)) = (pair[0].epoch, pair[1].epoch)
            && b.floor() > a.floor()
            && b > a
        {
            // Linear between the two logged points.
            let t = (b.floor() - a) / (b - a);
            borders.push(pair[0].step as f64 + t * (pair[1].step as f64 - pair[0].step as f64));
        }
    }
    // The end of the last epoch is the end of the chart.
    let last = curve.last().map_or(0.0, |p| p.step as f64);
    borders.retain(|&b| b < last);
    borders
}
