//! Data summary, settings, versions and hashes, commands.

use super::chart::length_histogram;
use super::data::{Command, Fact, ReportData};
use super::html::{esc, esc_code, plural, thousands};

/// What happened to the rows; empty if nothing is known.
pub fn data(report: &ReportData) -> String {
    let d = &report.data;
    if *d == Default::default() {
        return String::new();
    }
    let mut facts = String::new();
    let mut row = |name: &str, value: String| facts += &format!("<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>\n");
    if let Some(n) = d.rows_read {
        row("Read", plural(n as u64, "row"));
    }
    row("Trained on", plural(d.train_rows as u64, "row"));
    row("Held out", plural(d.heldout_rows as u64, "row"));
    if d.tokens > 0 {
        let share = 100.0 * d.trained_tokens as f64 / d.tokens as f64;
        row(
            "Tokens an epoch",
            format!("{} <span class=\"soft\">of them {} trained ({share:.1}%)</span>", thousands(d.tokens), thousands(d.trained_tokens)),
        );
    }
    let cutoff = d.cutoff_len.map_or(String::new(), |c| format!(" <span class=\"soft\">cut-off {} tokens</span>", thousands(c as u64)));
    row(
        "Truncated",
        if d.truncated == 0 { format!("none{cutoff}") } else { format!("<strong>{}</strong>{cutoff}", plural(d.truncated as u64, "row")) },
    );
    for f in &d.facts {
        row(&esc(&f.name), value(f));
    }
    let mut out = format!("<div class=\"card table\"><table class=\"facts\"><caption>Rows</caption><tbody>{facts}</tbody></table></div>\n");

    let total: usize = d.dropped.iter().map(|x| x.count).sum();
    let dropped: String = d
        .dropped
        .iter()
        .map(|x| {
            let example = x.example.as_ref().map_or(String::new(), |e| format!(" <span class=\"origin\">first: {}</span>", esc(e)));
            format!("<tr><th scope=\"row\" dir=\"auto\">{}{example}</th><td>{}</td></tr>\n", esc(&x.reason), thousands(x.count as u64))
        })
        .collect();
    out += &if dropped.is_empty() {
        "<div class=\"card table\"><table class=\"facts\"><caption>Dropped</caption><tbody><tr><td>No row was dropped.</td></tr></tbody></table></div>\n".to_owned()
    } else {
        format!(
            "<div class=\"card table\"><table class=\"facts counts\"><caption>Dropped <small>{}</small></caption><tbody>{dropped}</tbody></table></div>\n",
            plural(total as u64, "row")
        )
    };
    if !d.labels.is_empty() {
        let most = d.labels.iter().map(|l| l.train.max(l.heldout)).max().unwrap_or(1).max(1) as f64;
        let bar = |n: usize, class: &str| {
            format!(
                "<td><span class=\"count\"><i class=\"{class}\" style=\"width:{:.1}%\"></i></span><span class=\"n\">{}</span></td>",
                100.0 * n as f64 / most,
                thousands(n as u64)
            )
        };
        let rows: String = d
            .labels
            .iter()
            .map(|l| {
                format!("<tr><th scope=\"row\" dir=\"auto\">{}</th>{}{}</tr>\n", esc(&l.label), bar(l.train, "t"), bar(l.heldout, "h"))
            })
            .collect();
        out += &format!(
            "<div class=\"card table\"><table class=\"labels\"><caption>Labels</caption><thead><tr><td></td><th scope=\"col\">trained on</th><th scope=\"col\">held out</th></tr></thead><tbody>{rows}</tbody></table></div>\n"
        );
    }
    format!("<div class=\"data\">{out}{}</div>\n", length_histogram(d))
}

fn value(f: &Fact) -> String {
    if f.code { format!("<code>{}</code>", esc_code(&f.value)) } else { esc(&f.value) }
}

/// Every setting; those that the recipe or the command line gave are marked.
pub fn settings(report: &ReportData) -> String {
    if report.settings.is_empty() {
        return String::new();
    }
    let groups: String = report
        .settings
        .iter()
        .map(|g| {
            let rows: String = g
                .rows
                .iter()
                .map(|s| {
                    let (class, note) = if s.given { ("given", "") } else { ("default", " <span class=\"tag\">default</span>") };
                    format!(
                        "<tr class=\"{class}\"><th scope=\"row\"><code>{}</code></th><td><code>{}</code>{note}</td></tr>\n",
                        esc_code(&s.key),
                        esc_code(&s.value)
                    )
                })
                .collect();
            format!(
                "<div class=\"card table\"><table class=\"facts\"><caption>{}</caption><tbody>{rows}</tbody></table></div>\n",
                esc(&g.title)
            )
        })
        .collect();
    format!("<div class=\"settings\">{groups}</div>\n")
}

/// Sources, hashes, versions.
pub fn provenance(report: &ReportData) -> String {
    if report.provenance.is_empty() {
        return String::new();
    }
    let rows: String =
        report.provenance.iter().map(|f| format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", esc(&f.name), value(f))).collect();
    format!("<div class=\"card table\"><table class=\"facts wide\"><tbody>{rows}</tbody></table></div>\n")
}

/// How to repeat the run and what to type next.
pub fn commands(report: &ReportData) -> String {
    let list = |title: &str, commands: &[Command]| {
        if commands.is_empty() {
            return String::new();
        }
        let items: String = commands
            .iter()
            .map(|c| {
                format!(
                    "<li><p>{}</p><div class=\"cmd\"><pre tabindex=\"0\"><code>{}</code></pre><button type=\"button\" hidden>Copy</button></div></li>\n",
                    esc(&c.what),
                    esc(&c.command)
                )
            })
            .collect();
        format!("<div class=\"card\"><h3>{title}</h3><ul class=\"cmds\">{items}</ul></div>\n")
    };
    let both = list("Reproduce this run", &report.reproduce) + &list("What to type next", &report.next);
    if both.is_empty() { both } else { format!("<div class=\"commands\">{both}</div>\n") }
}
