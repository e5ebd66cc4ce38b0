//! `tunesmith eval RUN_OR_MODEL --data FILE`

use stages::Result;
use stages::eval::Job;

use super::{Context, open};
use crate::cli::Eval;
use crate::output;

pub fn run(context: &Context, args: &Eval) -> Result<()> {
    let mut screen = context.screen();
    let mut opened = open(context, &args.target, &mut screen)?;
    let job = Job { data: args.data.clone(), label_map: args.label_map.join(","), limit: args.limit };
    let outcome = stages::eval::run(&context.environment, &mut opened, &job, &mut screen)?;
    if context.json {
        output::json(&outcome.report);
    } else {
        output::line(outcome.to_text());
    }
    Ok(())
}
