//! Line charts and the histogram.
//!
//! The drawing stretches with the page while the lettering does not: lines are an SVG without a fixed aspect ratio
//! (strokes keep their width), ticks and labels are HTML placed in per cent over it. So a chart is readable at any
//! width without a script. Hovering is CSS: one invisible band a point, which shows a line, a dot and the values.

use super::data::{DataSummary, LengthBin};
use super::html::{number, plural, thousands};

/// How a series is drawn.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    /// The main line.
    Line,
    /// Behind the main line.
    Faint,
    /// A line with a dot at each point.
    Marked,
}

/// Points (x, y) in order of x, all finite.
pub struct Series {
    name: String,
    style: Style,
    points: Vec<(f64, f64)>,
}

impl Series {
    /// A plain line.
    pub fn line(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), style: Style::Line, points }
    }

    /// A line with dots, in the second colour.
    pub fn marked(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), style: Style::Marked, points }
    }
}

/// A noisy series: as it is if short, else faint behind its centred moving mean (which, unlike an exponential one,
/// does not lag).
pub fn smoothed(name: &str, points: &[(f64, f64)]) -> Vec<Series> {
    if points.len() < 20 {
        return vec![Series::line(name, points.to_vec())];
    }
    let half = (points.len() / 20).clamp(2, 25);
    let mean = (0..points.len())
        .map(|i| {
            // At both ends the window is what is left of it: an end that followed single points would look like news.
            let window = &points[i.saturating_sub(half)..=(i + half).min(points.len() - 1)];
            (points[i].0, window.iter().map(|p| p.1).sum::<f64>() / window.len() as f64)
        })
        .collect();
    vec![
        Series { name: name.into(), style: Style::Faint, points: points.to_vec() },
        Series { name: format!("mean of {}", 2 * half + 1), style: Style::Line, points: mean },
    ]
}

/// A chart over steps.
pub struct Chart<'a> {
    pub title: &'a str,
    pub unit: &'a str,
    pub wide: bool,
    /// The axis begins at zero.
    pub from_zero: bool,
    /// First and last step of the run: all charts share one axis.
    pub steps: (f64, f64),
    /// Steps where an epoch begins.
    pub epochs: &'a [f64],
    pub series: Vec<Series>,
}

/// Where values lie: per cent from the left and from the top.
struct Frame {
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn left(&self, x: f64) -> f64 {
        100.0 * (x - self.x.0) / (self.x.1 - self.x.0)
    }

    fn top(&self, y: f64) -> f64 {
        100.0 * (self.y.1 - y) / (self.y.1 - self.y.0)
    }
}

/// Round numbers from at most `low` to at least `high`, about `count` of them.
pub fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let span = if high > low { high - low } else { high.abs().max(1.0) };
    let raw = span / count.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= raw * 0.999).unwrap_or(10.0 * power);
    let (first, last) = ((low / step + 1e-9).floor() as i64, (high / step - 1e-9).ceil().max((low / step + 1e-9).floor() + 1.0) as i64);
    (first..=last).map(|i| i as f64 * step).collect()
}

/// Tick labels with the same number of decimals each.
fn tick_labels(ticks: &[f64]) -> Vec<String> {
    let step = if ticks.len() > 1 { ticks[1] - ticks[0] } else { 1.0 };
    let biggest = ticks.iter().fold(0f64, |m, t| m.max(t.abs()));
    if biggest > 0.0 && biggest < 1e-2 {
        return ticks.iter().map(|&t| number(t)).collect();
    }
    let decimals = (0..6)
        .find(|&d| {
            let s = step * 10f64.powi(d);
            (s - s.round()).abs() < 1e-6 * s.max(1.0)
        })
        .unwrap_or(6) as usize;
    ticks.iter().map(|t| if decimals == 0 && *t >= 0.0 { thousands(*t as u64) } else { format!("{t:.decimals$}") }).collect()
}

impl Chart<'_> {
    /// The figure; empty without points.
    pub fn render(&self) -> String {
        let all = || self.series.iter().flat_map(|s| s.points.iter());
        if all().next().is_none() {
            return String::new();
        }
        let (x0, x1) = all().fold(self.steps, |(a, b), p| (a.min(p.0), b.max(p.0)));
        let low = all().map(|p| p.1).fold(if self.from_zero { 0.0 } else { f64::INFINITY }, f64::min);
        let high = all().map(|p| p.1).fold(if self.from_zero { 0.0 } else { f64::NEG_INFINITY }, f64::max);
        let y_ticks = ticks(low, high, if self.wide { 5 } else { 4 });
        let frame = Frame { x: (x0, if x1 > x0 { x1 } else { x0 + 1.0 }), y: (y_ticks[0], y_ticks[y_ticks.len() - 1]) };
        let x_ticks: Vec<f64> = ticks(x0, x1, if self.wide { 8 } else { 4 }).into_iter().filter(|t| (x0..=x1).contains(t)).collect();

        let mut grid = String::new();
        for (t, label) in y_ticks.iter().zip(tick_labels(&y_ticks)) {
            grid += &format!("<span class=\"yt\" style=\"top:{:.2}%\">{label}</span>", frame.top(*t));
        }
        for (t, label) in x_ticks.iter().zip(tick_labels(&x_ticks)) {
            grid += &format!("<span class=\"xt\" style=\"left:{:.2}%\">{label}</span>", frame.left(*t));
        }
        let mut svg = String::new();
        for t in &y_ticks {
            svg += &format!("<path class=\"grid\" d=\"M0 {0:.1}H1000\"/>", 10.0 * frame.top(*t));
        }
        for e in self.epochs {
            svg += &format!("<path class=\"epoch\" d=\"M{:.1} 0V1000\"><title>a new epoch begins</title></path>", 10.0 * frame.left(*e));
        }
        for s in &self.series {
            svg += &s.path(&frame);
        }
        let legend: String = if self.series.len() > 1 {
            let items: String = self.series.iter().map(|s| format!("<li class=\"{}\">{}</li>", s.class(), s.name)).collect();
            format!("<ul class=\"legend\">{items}</ul>")
        } else {
            String::new()
        };
        let unit = if self.unit.is_empty() { String::new() } else { format!(" <small>{}</small>", self.unit) };
        format!(
            "<figure class=\"card chart{wide}\"><figcaption><h3>{title}{unit}</h3>{legend}</figcaption>\
             <div class=\"plot\" role=\"img\" aria-label=\"{summary}\">{grid}\
             <svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" aria-hidden=\"true\">{svg}</svg>\
             <div class=\"bands\" aria-hidden=\"true\">{bands}</div></div><p class=\"xl\">step</p></figure>\n",
            wide = if self.wide { " wide" } else { "" },
            title = self.title,
            summary = self.summary(),
            bands = self.bands(&frame),
        )
    }

    /// The curve in words, for those who cannot see it.
    fn summary(&self) -> String {
        let lines: Vec<String> = self
            .series
            .iter()
            .filter(|s| !s.points.is_empty())
            .map(|s| {
                let (first, last) = (s.points[0], s.points[s.points.len() - 1]);
                let (min, max) = s.points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), p| (a.min(p.1), b.max(p.1)));
                format!(
                    "{}: {} at step {}, {} at step {}, lowest {}, highest {}",
                    s.name,
                    number(first.1),
                    first.0,
                    number(last.1),
                    last.0,
                    number(min),
                    number(max)
                )
            })
            .collect();
        format!("{} over steps. {}.", self.title, lines.join("; "))
    }

    /// One hover band for each point of the densest series, thinned to at most 160.
    fn bands(&self, frame: &Frame) -> String {
        let Some(base) = self.series.iter().max_by_key(|s| s.points.len()) else { return String::new() };
        let n = base.points.len();
        let stride = n.div_ceil(160).max(1);
        let mut shown: Vec<usize> = (0..n).step_by(stride).collect();
        if shown.last() != Some(&(n - 1)) {
            shown.push(n - 1);
        }
        let xs: Vec<f64> = shown.iter().map(|&i| frame.left(base.points[i].0)).collect();
        let mut out = String::new();
        for (k, &i) in shown.iter().enumerate() {
            let from = if k == 0 { 0.0 } else { (xs[k - 1] + xs[k]) / 2.0 };
            let to = if k + 1 == xs.len() { 100.0 } else { (xs[k] + xs[k + 1]) / 2.0 };
            let step = base.points[i].0;
            let values: String =
                self.series.iter().filter_map(|s| s.at(step).map(|v| format!("<br>{} <em>{}</em>", s.name, number(v)))).collect();
            // The dot sits on the main line where there is one.
            let y = self.series.iter().rev().find(|s| s.style != Style::Faint && s.at(step).is_some()).and_then(|s| s.at(step));
            let y = frame.top(y.unwrap_or(base.points[i].1));
            out += &format!(
                "<i class=\"{side}\" style=\"left:{from:.2}%;width:{w:.2}%;--x:{x:.1}%;--y:{y:.1}%\"><b>step {step}{values}</b></i>",
                side = if xs[k] > 50.0 { "l" } else { "r" },
                w = to - from,
                x = if to > from { 100.0 * (xs[k] - from) / (to - from) } else { 50.0 },
            );
        }
        out
    }
}

impl Series {
    fn class(&self) -> &'static str {
        match self.style {
            Style::Line => "s-line",
            Style::Faint => "s-faint",
            Style::Marked => "s-mark",
        }
    }

    fn at(&self, x: f64) -> Option<f64> {
        self.points.iter().find(|p| p.0 == x).map(|p| p.1)
    }

    fn path(&self, frame: &Frame) -> String {
        let at = |p: &(f64, f64)| format!("{:.1} {:.1}", 10.0 * frame.left(p.0), 10.0 * frame.top(p.1));
        let line: Vec<String> = thin(&self.points, 600).iter().map(&at).collect();
        let mut out = format!("<path class=\"{}\" d=\"M{}\"/>", self.class(), line.join("L"));
        if self.style == Style::Marked && self.points.len() <= 40 {
            // A line of no length with a round cap is a dot that does not stretch with the drawing.
            let dots: String = self.points.iter().map(|p| format!("M{}h0", at(p))).collect();
            out += &format!("<path class=\"s-dots\" d=\"{dots}\"/>");
        }
        out
    }
}

/// At most about `most` points: of each run of neighbours the lowest and the highest, so that no spike is lost.
fn thin(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    if points.len() <= most {
        return points.to_vec();
    }
    let run = points.len().div_ceil(most / 2);
    let mut out = vec![points[0]];
    for chunk in points.chunks(run) {
        let low = chunk.iter().copied().reduce(|a, b| if b.1 < a.1 { b } else { a });
        let high = chunk.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a });
        let mut pair: Vec<(f64, f64)> = low.into_iter().chain(high).collect();
        pair.sort_by(|a, b| a.0.total_cmp(&b.0));
        pair.dedup();
        out.extend(pair);
    }
    out.extend(points.last().copied());
    out.dedup();
    out
}

/// Histogram of row lengths with a marker at the cut-off; empty without bins.
pub fn length_histogram(data: &DataSummary) -> String {
    let most = data.lengths.iter().map(|b| b.count).max().unwrap_or(0);
    let (Some(first), Some(last)) = (data.lengths.first(), data.lengths.last()) else { return String::new() };
    if most == 0 {
        return String::new();
    }
    let span = (last.to + 1 - first.from) as f64;
    let left = |tokens: f64| 100.0 * (tokens - first.from as f64) / span;
    let range = |b: &LengthBin| if b.from == b.to { plural(b.from as u64, "token") } else { format!("{} to {} tokens", b.from, b.to) };
    let bars: String = data
        .lengths
        .iter()
        .map(|b| {
            format!(
                "<i style=\"left:{:.2}%;width:{:.2}%;--h:{:.2}%\" class=\"{}\"><b>{}<br><em>{}</em></b></i>",
                left(b.from as f64),
                100.0 * (b.to + 1 - b.from) as f64 / span,
                100.0 * b.count as f64 / most as f64,
                if left(b.from as f64) > 50.0 { "l" } else { "r" },
                range(b),
                plural(b.count as u64, "row"),
            )
        })
        .collect();
    let x_ticks: Vec<f64> = ticks(first.from as f64, (last.to + 1) as f64, 6)
        .into_iter()
        .filter(|t| (first.from as f64..=(last.to + 1) as f64).contains(t))
        .collect();
    let labels: String = x_ticks
        .iter()
        .zip(tick_labels(&x_ticks))
        .map(|(t, l)| format!("<span class=\"xt\" style=\"left:{:.2}%\">{l}</span>", left(*t)))
        .collect();
    let cutoff = match data.cutoff_len {
        Some(c) if c >= first.from && c <= last.to + 1 => {
            format!(
                "<span class=\"cut\" style=\"left:{:.2}%\"><span>cut-off {}</span></span>",
                left((c + 1).min(last.to + 1) as f64),
                thousands(c as u64)
            )
        }
        _ => String::new(),
    };
    let summary = data.length_stats.map_or(String::new(), |s| {
        format!("Lengths of rows: shortest {}, median {}, 95% at most {}, longest {} tokens.", s.min, s.median, s.p95, s.max)
    });
    format!(
        "<figure class=\"card hist\"><figcaption><h3>Row length <small>tokens, prompt and answer</small></h3></figcaption>\
         <div class=\"plot\" role=\"img\" aria-label=\"{summary}\"><div class=\"bars\" aria-hidden=\"true\">{bars}</div>{labels}{cutoff}</div>\
         <p class=\"xl\">{short}</p></figure>\n",
        short = data.length_stats.map_or(String::from("tokens"), |s| {
            format!("shortest {} · median {} · 95% ≤ {} · longest {}", s.min, s.median, s.p95, thousands(s.max as u64))
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_round_and_cover() {
        assert_eq!(ticks(0.0, 10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(tick_labels(&ticks(0.13, 0.71, 5)), ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(tick_labels(&ticks(0.0, 2e-4, 4)), ["0", "5e-5", "1e-4", "1.5e-4", "2e-4"]);
        assert_eq!(tick_labels(&ticks(0.0, 5000.0, 5)), ["0", "1,000", "2,000", "3,000", "4,000", "5,000"]);
        assert!(ticks(3.0, 3.0, 4).len() > 1);
    }

    #[test]
    fn a_spike_survives_thinning() {
        let mut p: Vec<(f64, f64)> = (0..10_000).map(|i| (i as f64, 1.0)).collect();
        p[5003].1 = 99.0;
        let t = thin(&p, 600);
        assert!(t.len() <= 700 && t.iter().any(|q| q.1 == 99.0) && t.last() == p.last());
    }

    #[test]
    fn short_series_are_not_smoothed_and_long_ones_keep_their_mean() {
        assert_eq!(smoothed("x", &[(0.0, 1.0), (1.0, 2.0)]).len(), 1);
        let line: Vec<(f64, f64)> = (0..100).map(|i| (i as f64, 2.0 * i as f64)).collect();
        let s = smoothed("x", &line);
        assert_eq!((s[1].name.as_str(), s[1].points.len()), ("mean of 11", 100));
        // A centred mean leaves a straight line where it is.
        for (a, b) in s[1].points.iter().zip(&line).skip(5).take(90) {
            assert!((a.1 - b.1).abs() < 1e-9);
        }
    }

    #[test]
    fn no_points_no_chart() {
        let c = Chart {
            title: "T",
            unit: "",
            wide: true,
            from_zero: true,
            steps: (0.0, 0.0),
            epochs: &[],
            series: vec![Series::line("a", vec![])],
        };
        assert_eq!(c.render(), "");
        assert_eq!(length_histogram(&DataSummary::default()), "");
    }

    proptest! {
        #[test]
        fn everything_is_inside_the_frame(ys in prop::collection::vec(-1e6f64..1e6, 1..60), zero in any::<bool>()) {
            let points = ys.iter().enumerate().map(|(i, y)| (i as f64 * 10.0, *y)).collect();
            let html = Chart { title: "T", unit: "", wide: true, from_zero: zero, steps: (0.0, 0.0), epochs: &[], series: vec![Series::line("a", points)] }.render();
            prop_assert!(!html.contains("NaN") && !html.contains("inf"));
            for part in html.split("style=\"").skip(1) {
                for value in part.split('"').next().unwrap_or("").split(';') {
                    let v: f64 = value.rsplit(':').next().unwrap().trim_end_matches('%').parse().unwrap();
                    prop_assert!((-0.01..=100.01).contains(&v), "{value}");
                }
            }
        }
    }
}
