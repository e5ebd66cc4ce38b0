//! `tunesmith bench train-step | prefill | decode | products`

use serde::Serialize;
use stages::Result;
use stages::bench::{self, DecodeJob, PrefillJob, ProductsJob, TrainStepJob};

use super::Context;
use crate::cli::{Bench, Subject};
use crate::output;

pub fn run(context: &Context, args: &Bench) -> Result<()> {
    let (environment, screen) = (&context.environment, &mut context.screen());
    match args {
        Bench::TrainStep(args) => {
            let job = TrainStepJob {
                subject: subject(&args.subject),
                method: args.method.parse()?,
                rank: args.rank,
                batch: args.batch,
                seq: args.seq,
                dtype: args.dtype.and_then(Option::from).unwrap_or_else(bench::native_dtype),
                steps: args.steps,
                completion: args.completion_only,
                cached: args.cached,
                gradient_checkpointing: args.gradient_checkpointing,
                peak: !args.no_peak,
            };
            let report = bench::train_step(environment, &job, screen)?;
            show(context, &report, report.to_text());
        }
        Bench::Prefill(args) => {
            let job = PrefillJob {
                subject: subject(&args.subject),
                tokens: args.tokens,
                batch: args.batch,
                dtype: args.dtype.and_then(Option::from),
                repeats: args.timing.repeats,
                peak: !args.timing.no_peak,
            };
            let report = bench::prefill(environment, &job, screen)?;
            show(context, &report, report.to_text());
        }
        Bench::Decode(args) => {
            let job = DecodeJob {
                subject: subject(&args.subject),
                tokens: args.tokens,
                context: args.context,
                batch: args.batch,
                dtype: args.dtype.and_then(Option::from),
                repeats: args.timing.repeats,
                peak: !args.timing.no_peak,
            };
            let report = bench::decode(environment, &job, screen)?;
            show(context, &report, report.to_text());
        }
        Bench::Products(args) => {
            let job = ProductsJob {
                subject: subject(&args.subject),
                tokens: args.tokens,
                rank: args.rank,
                dtype: args.dtype.and_then(Option::from).unwrap_or_else(bench::native_dtype),
                repeats: args.timing.repeats,
                peak: !args.timing.no_peak,
            };
            let report = bench::products(environment, &job, screen)?;
            show(context, &report, report.to_text());
        }
    }
    Ok(())
}

fn show(context: &Context, report: &impl Serialize, text: String) {
    if context.json { output::json(report) } else { output::line(text) }
}

fn subject(args: &Subject) -> bench::Subject {
    match &args.model {
        Some(model) => bench::Subject::Model(model.clone()),
        None => bench::Subject::Arch(args.arch.clone()),
    }
}
