//! `tunesmith label simulate|audit|weak|pseudo`

use stages::Result;
use stages::few::{audit, pseudo, simulate, weak};
use stages::vectorize::table::DataChoice;

use super::Context;
use super::vectorize::{data, features, learner};
use crate::cli::few as cli;
use crate::output;

fn labelled(source: &str, args: &cli::LabelledArgs) -> DataChoice {
    DataChoice { label_column: args.label_column.clone(), label_map: args.label_map.join(","), ..data(source, &args.rows) }
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
    if context.json {
        output::json(&report);
    } else {
        output::line(report.to_text());
    }
    Ok(())
}

pub fn audit(context: &Context, args: &cli::Audit) -> Result<()> {
    let job = audit::Job {
        data: labelled(&args.data, &args.labelled),
        features: features(&args.features),
        folds: args.folds,
        seed: args.seed,
        top: args.top,
        output: args.output.clone(),
    };
    let report = audit::run(&context.environment, &job, &mut context.screen())?;
    if context.json {
        output::json(&report);
    } else {
        output::line(report.to_text());
    }
    Ok(())
}

pub fn weak(context: &Context, args: &cli::Weak) -> Result<()> {
    let job = weak::Job {
        data: labelled(&args.data, &args.labelled),
        rules: args.rules.clone(),
        test: args.test.clone(),
        features: features(&args.features),
        learner: learner(&args.learner),
        output: args.output.clone(),
    };
    let report = weak::run(&context.environment, &job, &mut context.screen())?;
    if context.json {
        output::json(&report);
    } else {
        output::line(report.to_text());
    }
    Ok(())
}

pub fn pseudo(context: &Context, args: &cli::Pseudo) -> Result<()> {
    let job = pseudo::Job {
        data: labelled(&args.data, &args.labelled),
        unlabelled: args.unlabelled.clone(),
        test: args.test.clone(),
        threshold: args.threshold,
        features: features(&args.features),
        learner: learner(&args.learner),
        output: args.output.clone(),
    };
    let report = pseudo::run(&context.environment, &job, &mut context.screen())?;
    if context.json {
        output::json(&report);
    } else {
        output::line(report.to_text());
    }
    Ok(())
}
