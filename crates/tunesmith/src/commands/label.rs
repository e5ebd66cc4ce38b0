//! `tunesmith label …`

use stages::human::{count, plural};
use stages::label::status::{ClassCount, LeftOut};
use stages::label::{Lost, ReadOptions};
use stages::{Result, StageError};

use super::Context;
use super::vectorize::{features, learner};
use crate::cli::label::{Adjudicate, Agree, Annotate, Export, Import, Kind, Label, LabelsAre, Migrate, Queue, Status, Task, Undo};
use crate::{output, terminal};

pub fn run(context: &Context, verb: &Label) -> Result<()> {
    match verb {
        Label::Import(args) => import(context, args),
        Label::Export(args) => export(context, args),
        Label::Annotate(args) => annotate(context, args),
        Label::Queue(args) => queue(context, args),
        Label::Agree(args) => agree(context, args),
        Label::Adjudicate(args) => adjudicate(context, args),
        Label::Status(args) => status(context, args),
        Label::Migrate(args) => migrate(context, args),
        Label::Undo(args) => undo(context, args),
        Label::Simulate(args) => super::few::simulate(context, args),
        Label::Audit(args) => super::few::audit(context, args),
        Label::Weak(args) => super::few::weak(context, args),
        Label::Distant(args) => super::few::distant(context, args),
        Label::Pseudo(args) => super::few::pseudo(context, args),
        Label::Distill(args) => super::few::distill(context, args),
    }
}

fn import(context: &Context, args: &Import) -> Result<()> {
    let Some(format) = args.format.of_files() else { return import_chunks(context, args) };
    let Some(path) = &args.path else {
        return Err(StageError::input("which file? `label import FORMAT PATH --store DIR`; only chunks have none"));
    };
    if args.cutting.chosen().is_some() {
        return Err(StageError::input("--tokenizer, --clean, --size and --overlap say how documents are cut: `label import chunks`"));
    }
    let options = ReadOptions {
        text: args.text_column.clone(),
        label: args.label_column.clone(),
        id: args.id_column.clone(),
        author: args.annotator.clone(),
        author_kind: args.author_kind.into(),
        labels_are: match args.labels_are {
            LabelsAre::Classes => stages::label::LabelsAre::Classes,
            LabelsAre::Texts => stages::label::LabelsAre::Texts,
        },
        separator: args.label_separator.clone(),
        scheme: args.scheme.map(Into::into),
        encoding: args.encoding.clone(),
        delimiter: args.delimiter,
    };
    let job = stages::label::import::Job {
        format,
        path: path.clone(),
        store: args.store.store.clone(),
        dry_run: args.dry_run,
        source: args.source.clone(),
        options,
    };
    let report = stages::label::import::run(&job, &mut context.screen())?;
    imported(context, &report);
    report.verdict()
}

fn import_chunks(context: &Context, args: &Import) -> Result<()> {
    if let Some(path) = &args.path {
        let help = format!("`docs ingest {} --store DIR` reads documents; their chunks come without a file", super::shown(path));
        return Err(StageError::input_help("chunks takes no file: it takes the documents in --store", help));
    }
    let idle = [
        ("--annotator", args.annotator.is_some()),
        ("--author-kind", !matches!(args.author_kind, Kind::Human)),
        ("--text-column", args.text_column.is_some()),
        ("--label-column", args.label_column.is_some()),
        ("--id-column", args.id_column.is_some()),
        ("--labels-are", !matches!(args.labels_are, LabelsAre::Classes)),
        ("--label-separator", args.label_separator.is_some()),
        ("--scheme", args.scheme.is_some()),
        ("--encoding", args.encoding.is_some()),
        ("--delimiter", args.delimiter.is_some()),
    ];
    if let Some((option, _)) = idle.iter().find(|(_, given)| *given) {
        return Err(StageError::input(format!("{option}: is said of files of labels; chunks have no labels")));
    }
    let job = stages::label::chunks::Job {
        store: args.store.store.clone(),
        cutting: args.cutting.chosen(),
        source: args.source.clone(),
        dry_run: args.dry_run,
    };
    imported(context, &stages::label::chunks::run(&context.environment, &job, &mut context.screen())?);
    Ok(())
}

fn imported(context: &Context, report: &stages::label::import::Report) {
    if context.json {
        return output::json(report);
    }
    let read = &report.read;
    output::line(format_args!(
        "read   {}: {}, {} ({} spans, {} relations)",
        report.source,
        plural(read.rows, "row"),
        plural(read.labels, "label"),
        count(read.spans as u64),
        count(read.relations as u64)
    ));
    if let Some(way) = &report.repair {
        output::line(format_args!("repaired {}: the file counts {way}", plural(report.repaired, "span")));
    }
    let verb = if report.dry_run { "would add" } else { "added" };
    if report.documents + report.labels == 0 {
        output::line("nothing is new");
    } else {
        output::line(format_args!("{verb} {}, {}", plural(report.documents, "document"), plural(report.labels, "label")));
    }
    lost(&report.lost);
}

fn migrate(context: &Context, args: &Migrate) -> Result<()> {
    let job = stages::label::migrate::Job { store: args.store.store.clone(), clean: args.clean.clone(), dry_run: args.dry_run };
    let report = stages::label::migrate::run(&job, &mut context.screen())?;
    if context.json {
        output::json(&report);
        return Ok(());
    }
    let verb = if report.dry_run { "would carry" } else { "carried" };
    output::line(format_args!(
        "{verb} {}: {} ({} spans, {} relations); {} as they were",
        plural(report.documents, "row"),
        plural(report.labels, "label"),
        count(report.spans as u64),
        count(report.relations as u64),
        plural(report.unchanged, "row")
    ));
    if report.changed > 0 {
        output::line(format_args!("{} of other words now: what they mark was cleaned", plural(report.changed, "span")));
    }
    lost(&report.lost);
    if let Some(action) = report.action {
        output::line(format_args!("`label undo {action}` brings the former rows back"));
    }
    Ok(())
}

/// The table of what could not be kept.
fn lost(list: &[Lost]) {
    for lost in list {
        output::line(format_args!("lost   {} {}: {}", count(lost.count as u64), lost.what, lost.reason));
    }
}

fn export(context: &Context, args: &Export) -> Result<()> {
    let split = match args.split.as_deref() {
        None => None,
        Some(&[train, val, test]) => Some([train, val, test]),
        Some(_) => return Err(StageError::input("--split needs three shares: train, val and test, such as .8,.1,.1")),
    };
    let job = stages::label::export::Job {
        format: args.format.into(),
        store: args.store.store.clone(),
        output: args.output.clone(),
        labelled: args.labelled,
        scheme: args.scheme.map(Into::into),
        separator: args.label_separator.clone(),
        split,
        seed: args.seed,
        near_duplicates: args.near_duplicates,
    };
    let report = stages::label::export::run(&job, &mut context.screen())?;
    if context.json {
        output::json(&report);
        return Ok(());
    }
    output::line(format_args!(
        "wrote {} ({} labelled) to {}",
        plural(report.documents, "document"),
        count(report.labelled as u64),
        super::shown(&report.output)
    ));
    if let Some(parts) = report.split {
        output::line(format_args!("train {}, val {}, test {} (people's labels only)", parts.train, parts.val, parts.test));
        if parts.left_out > 0 {
            output::line(format_args!(
                "left out {}: held out, but their text is trained on or a machine labelled them",
                plural(parts.left_out, "row")
            ));
        }
    }
    if let Some(duplicates) = report.duplicates {
        output::line(format_args!("left out {} that another one says already", plural(duplicates, "document")));
    }
    if report.unresolved > 0 {
        output::line(format_args!(
            "{} in dispute: see `label agree`, settle with `label adjudicate`",
            plural(report.unresolved, "document")
        ));
    }
    lost(&report.lost);
    Ok(())
}

fn status(context: &Context, args: &Status) -> Result<()> {
    let report = stages::label::status::run(&context.environment, &args.store.store, args.budget, !args.no_curve, &mut context.screen())?;
    if context.json {
        output::json(&report);
        return Ok(());
    }
    let status = &report.status;
    output::line(format_args!(
        "budget   {} of {} used, {} left",
        count(status.used as u64),
        count(status.budget as u64),
        count(status.left as u64)
    ));
    output::line(format_args!(
        "documents {}: {} settled by people ({} adjudicated), {} by machines only, {} in dispute, {} unlabelled",
        count(status.documents as u64),
        count(status.human as u64),
        status.adjudicated,
        count(status.model as u64),
        count(status.unresolved as u64),
        count(status.unlabelled as u64)
    ));
    // One question says no more than the line above.
    for q in status.questions.iter().filter(|_| status.questions.len() > 1) {
        output::line(format_args!(
            "  {}: {} settled by people ({} adjudicated), {} by machines only, {} in dispute, {} unlabelled; {} used",
            q.question,
            count(q.human as u64),
            q.adjudicated,
            count(q.model as u64),
            count(q.unresolved as u64),
            count(q.unlabelled as u64),
            count(q.used as u64)
        ));
    }
    for (title, list) in [("class", &status.classes), ("span", &status.spans), ("relation", &status.relations)] {
        table(title, list);
    }
    for author in &status.annotators {
        let name = if author.name.is_empty() { "(unnamed)" } else { &author.name };
        output::line(format_args!(
            "{:<12} {name}: {}, {}{}",
            author.kind,
            plural(author.documents, "document"),
            plural(author.labels, "label"),
            if author.ignored > 0 { format!(", {} passed over", author.ignored) } else { String::new() }
        ));
    }
    match (&report.learning_curve, &report.no_learning_curve) {
        (Some(curve), _) => learning_curve(curve),
        (None, Some(reason)) if !args.no_curve => output::line(format_args!("learning curve: not told: {reason}")),
        _ => {}
    }
    left_out(&report.left_out);
    Ok(())
}

/// Labelled documents that a classifier did not learn from.
fn left_out(list: &[LeftOut]) {
    for left in list {
        output::line(format_args!("not learned from: {} ({})", plural(left.count, "document"), left.reason));
    }
}

fn learning_curve(curve: &stages::label::status::Curve) {
    let f = &curve.forecast;
    let question = if curve.question.is_empty() { String::new() } else { format!(" ({})", curve.question) };
    output::line(format_args!(
        "learning curve{question} of TF-IDF and logistic regression on {} of {} classes, {} folds x {}",
        plural(f.labels, "document"),
        curve.classes.len(),
        f.folds,
        plural(f.seeds as usize, "seed")
    ));
    let row = |p: &stages::label::status::Point, what: &str| {
        output::line(format_args!("{:>8}  {:.3}  {:.3}-{:.3}{what}", p.labels, p.accuracy, p.low, p.high));
    };
    let accuracy = if curve.several { "all classes right" } else { "accuracy" };
    output::line(format_args!("{:>8}  {accuracy} (90 % of samples)", "labels"));
    f.points.iter().for_each(|p| row(p, ""));
    row(&f.now, "  by the curve, now");
    row(&f.next, "  by the curve");
    output::line(format_args!(
        "{} more labels should bring {:.1} points of accuracy ({:.1} to {:.1})",
        f.gain.labels,
        100.0 * f.gain.mean,
        100.0 * f.gain.low,
        100.0 * f.gain.high
    ));
}

fn table(title: &str, list: &[ClassCount]) {
    if list.is_empty() {
        return;
    }
    let width = list.iter().map(|c| c.label.chars().count()).max().unwrap_or(0).clamp(title.len(), 40);
    output::line(format_args!("{title:<width$}  {:>8}  {:>8}", "labels", "people's"));
    for class in list {
        let thin = if class.thin { "  thin" } else { "" };
        output::line(format_args!("{:<width$}  {:>8}  {:>8}{thin}", class.label, class.count, class.human));
    }
}

fn undo(context: &Context, args: &Undo) -> Result<()> {
    if args.list {
        for action in stages::label::undo::list(&args.store.store)? {
            if context.json {
                output::json(&action);
            } else {
                let state = match (action.undone, action.undoes) {
                    (true, _) => " (undone)".to_owned(),
                    (false, Some(target)) => format!(" of {target}"),
                    (false, None) => String::new(),
                };
                output::line(format_args!("{:>5}  {}{state}  {}", action.id, action.kind, action.detail));
            }
        }
        return Ok(());
    }
    let action = stages::label::undo::run(&args.store.store, args.action)?;
    if context.json {
        output::json(&action);
        return Ok(());
    }
    output::line(format_args!("undid {} {}; what it said counts no more", action.kind, action.id));
    Ok(())
}

fn annotate(context: &Context, args: &Annotate) -> Result<()> {
    let job = stages::label::annotate::Job {
        store: args.store.store.clone(),
        annotator: args.annotator.clone(),
        task: args.task.map(|task| match task {
            Task::Class => stages::label::Task::Class,
            Task::Classes => stages::label::Task::Classes,
            Task::Spans => stages::label::Task::Spans,
        }),
        classes: args.classes.clone(),
        strategy: args.strategy.clone(),
        limit: args.limit,
        seed: args.seed,
    };
    session(context, &job)
}

/// A session in the terminal.
fn session(context: &Context, job: &stages::label::annotate::Job) -> Result<()> {
    let mut annotating = stages::label::annotate::open(&context.environment, job, &mut context.screen())?;
    terminal::run(&mut annotating)?;
    let report = annotating.report();
    if context.json {
        output::json(&report);
    } else {
        output::line(format_args!("{} of {} answered", report.answered, plural(report.waiting, "document")));
    }
    Ok(())
}

fn queue(context: &Context, args: &Queue) -> Result<()> {
    let job = stages::label::queue::Job {
        store: args.store.store.clone(),
        choosing: stages::label::choose::Choosing {
            strategy: args.strategy.clone(),
            n: args.n,
            seed: args.seed,
            annotator: args.annotator.clone(),
            kind: args.task.map(Into::into),
            features: features(&args.features),
            learner: learner(&args.learner),
        },
        output: args.output.clone(),
    };
    let report = stages::label::queue::run(&context.environment, &job, &mut context.screen())?;
    if context.json {
        output::json(&report);
        return Ok(());
    }
    let path = super::shown(&report.output);
    let (rows, waiting) = (plural(report.rows, "row"), count(report.waiting as u64));
    output::line(format_args!("wrote {rows} of {waiting} that wait ({}) to {path}", report.task));
    if report.learned_from > 0 {
        let (labels, classes) = (plural(report.learned_from, "label"), report.classes.len());
        output::line(format_args!("chosen by {} from {labels} of {classes} classes; `queued` says why each", report.used));
    }
    if let Some(reason) = &report.reason {
        output::line(format_args!("chosen by {}: {reason}", report.used));
    }
    left_out(&report.left_out);
    let field = match report.task {
        "spans" => "`spans` (and `relations`)",
        "texts" => "`texts`",
        _ => "a `label`",
    };
    output::line(format_args!(
        "next: put {field} into each, then\n  {} label import jsonl {path} --store {}",
        super::program(),
        super::shown(&args.store.store)
    ));
    Ok(())
}

fn agree(context: &Context, args: &Agree) -> Result<()> {
    let found = stages::label::agree::run(&args.store.store)?;
    if context.json {
        output::json(&found);
        return Ok(());
    }
    if found.classes.is_empty() && found.spans.is_none() {
        output::line("no document was judged by two people");
        return Ok(());
    }
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
    for class in &found.classes {
        output::line(format_args!(
            "{}: {} judged by several, observed {:.3}, Krippendorff {}, Fleiss {} ({} raters)",
            class.question,
            plural(class.documents, "document"),
            class.observed,
            number(class.krippendorff),
            number(class.fleiss),
            class.fleiss_raters
        ));
        for label in &class.labels {
            output::line(format_args!(
                "  {:<20} {:>7} judgements, Krippendorff {}",
                label.label,
                label.judgements,
                number(label.krippendorff)
            ));
        }
        for pair in &class.pairs {
            let names = format!("{} / {}", who(&pair.a), who(&pair.b));
            output::line(format_args!(
                "  {names:<20} {:>7} documents,  Cohen {}, observed {:.3}",
                pair.documents,
                number(pair.cohen),
                pair.observed
            ));
        }
        for person in &class.annotators {
            output::line(format_args!(
                "  {:<20} {:>7} documents,  agrees with others on {:.3}",
                who(&person.annotator),
                person.documents,
                person.observed
            ));
        }
    }
    if let Some(spans) = &found.spans {
        output::line(format_args!(
            "spans: {}, F1 exact {:.3}, partial {:.3}",
            plural(spans.documents, "document"),
            spans.exact_f1,
            spans.partial_f1
        ));
        for label in &spans.labels {
            output::line(format_args!("  {:<20} F1 exact {:.3}, partial {:.3}", label.label, label.exact_f1, label.partial_f1));
        }
        for pair in &spans.pairs {
            let names = format!("{} / {}", who(&pair.a), who(&pair.b));
            output::line(format_args!(
                "  {names:<20} F1 exact {:.3}, partial {:.3} on {}",
                pair.exact_f1,
                pair.partial_f1,
                plural(pair.documents, "document")
            ));
        }
    }
    if let Some(relations) = &found.relations {
        let documents = plural(relations.documents, "document");
        output::line(format_args!("relations: {documents}, F1 exact {:.3}", relations.exact_f1));
        for label in &relations.labels {
            output::line(format_args!("  {:<20} F1 exact {:.3}", label.label, label.exact_f1));
        }
        for pair in &relations.pairs {
            let names = format!("{} / {}", who(&pair.a), who(&pair.b));
            output::line(format_args!("  {names:<20} F1 exact {:.3} on {}", pair.exact_f1, plural(pair.documents, "document")));
        }
    }
    output::line(format_args!("{}", plural(found.disagreements.len(), "disagreement")));
    for row in found.disagreements.iter().take(args.rows) {
        output::line(format_args!(
            "  document {} ({} {}), {}, {}: {:?}",
            row.document, row.source, row.row, row.question, row.settled, row.text
        ));
        for (name, labels) in &row.opinions {
            output::line(format_args!(
                "    {:<12} {}",
                who(name),
                if labels.is_empty() { "nothing".to_owned() } else { labels.join(", ") }
            ));
        }
    }
    Ok(())
}

fn who(name: &str) -> &str {
    if name.is_empty() { "(unnamed)" } else { name }
}

fn adjudicate(context: &Context, args: &Adjudicate) -> Result<()> {
    use stages::label::adjudicate::{Choice, Job};
    let Some(document) = args.document else {
        return session(
            context,
            &stages::label::annotate::Job {
                store: args.store.store.clone(),
                annotator: args.adjudicator.clone(),
                task: Some(stages::label::Task::Adjudicate),
                classes: Vec::new(),
                strategy: "random".into(),
                limit: args.limit,
                seed: 0,
            },
        );
    };
    let choice = match &args.take {
        Some(name) => Choice::Of(name.clone()),
        None => Choice::Classes(args.label.clone()),
    };
    let job = Job { store: args.store.store.clone(), document, adjudicator: args.adjudicator.clone(), choice };
    let report = stages::label::adjudicate::run(&job)?;
    if context.json {
        output::json(&report);
        return Ok(());
    }
    output::line(format_args!("document {} is settled: {}", report.document, plural(report.labels, "label")));
    Ok(())
}
