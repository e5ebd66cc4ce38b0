//! `tunesmith label simulate|audit|weak|distant|pseudo|distill`

use serde::Serialize;
use stages::few::{self, audit, distant, distill, pseudo, simulate, weak};
use stages::vectorize::table::DataChoice;
use stages::{Recipe, Result};

use super::Context;
use super::vectorize::{data, features, learner};
use crate::cli::few as cli;
use crate::output;

fn labelled(source: &str, args: &cli::LabelledArgs) -> DataChoice {
    DataChoice { label_column: args.label_column.clone(), label_map: args.label_map.join(","), ..data(source, &args.rows) }
}

/// Rows of a file or a store.
fn rows(from: &cli::RowsArgs, args: &cli::LabelledArgs) -> DataChoice {
    DataChoice { store: from.store.clone(), ..labelled(from.data.as_deref().unwrap_or_default(), args) }
}

/// Rows of a file or a store, and what learns from them.
fn learning(args: &cli::LearningArgs) -> few::Learning {
    few::Learning { data: rows(&args.from, &args.labelled), features: features(&args.features), learner: learner(&args.learner) }
}

fn show(context: &Context, report: &impl Serialize, text: impl FnOnce() -> String) {
    if context.json {
        output::json(report);
    } else {
        output::line(text());
    }
}

pub fn simulate(context: &Context, args: &cli::Simulate) -> Result<()> {
    let job = simulate::Job {
        data: labelled(&args.data, &args.labelled),
        test: args.test.clone(),
        strategies: args.strategy.clone(),
        seeds: args.seeds,
        initial: args.initial,
        batch: args.batch,
        budget: args.budget,
        features: features(&args.features),
        learner: learner(&args.learner),
    };
    let report = simulate::run(&context.environment, &job, &mut context.screen())?;
    show(context, &report, || report.to_text());
    Ok(())
}

pub fn audit(context: &Context, args: &cli::Audit) -> Result<()> {
    let job = audit::Job {
        data: rows(&args.from, &args.labelled),
        features: features(&args.features),
        runs: args.runs.clone(),
        folds: args.folds,
        seed: args.seed,
        top: args.top,
        output: args.output.clone(),
    };
    let report = audit::run(&context.environment, &job, &mut context.screen())?;
    show(context, &report, || report.to_text());
    Ok(())
}

pub fn weak(context: &Context, args: &cli::Weak) -> Result<()> {
    let job =
        weak::Job { learning: learning(&args.learning), rules: args.rules.clone(), test: args.test.clone(), output: args.output.clone() };
    let report = weak::run(&context.environment, &job, &mut context.screen())?;
    show(context, &report, || report.to_text());
    Ok(())
}

pub fn pseudo(context: &Context, args: &cli::Pseudo) -> Result<()> {
    let job = pseudo::Job {
        learning: learning(&args.learning),
        unlabelled: args.rest.unlabelled.clone(),
        test: args.rest.test.clone(),
        threshold: args.threshold,
        output: args.output.clone(),
    };
    let report = pseudo::run(&context.environment, &job, &mut context.screen())?;
    show(context, &report, || report.to_text());
    Ok(())
}

pub fn distill(context: &Context, args: &cli::Distill) -> Result<()> {
    let job = distill::Job {
        learning: learning(&args.learning),
        unlabelled: args.rest.unlabelled.clone(),
        teacher: args.teacher.clone(),
        recipe: args.recipe.as_deref().map(|path| Recipe::load(path, &[])).transpose()?,
        test: args.rest.test.clone(),
        output: args.output.clone(),
    };
    let report = distill::run(&context.environment, &job, &mut context.screen())?;
    show(context, &report, || report.to_text());
    Ok(())
}

pub fn distant(context: &Context, args: &cli::Distant) -> Result<()> {
    let job = distant::Job {
        knowledge: args.knowledge.clone(),
        encoding: args.kb_encoding.clone(),
        data: DataChoice { store: args.from.store.clone(), ..data(args.from.data.as_deref().unwrap_or_default(), &args.rows) },
        across_sentences: args.across_sentences,
        output: args.output.clone(),
    };
    let report = distant::run(&context.environment, &job, &mut context.screen())?;
    show(context, &report, || report.to_text());
    Ok(())
}
