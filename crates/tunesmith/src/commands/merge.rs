//! `tunesmith merge RUN --output DIR`

use stages::Result;
use stages::merge::Job;

use super::{Context, program, shown};
use crate::cli::{Dtype, Merge};
use crate::output;

pub fn run(context: &Context, args: &Merge) -> Result<()> {
    let dtype = match args.dtype {
        Dtype::F32 => stages::merge::Dtype::F32,
        Dtype::Bf16 => stages::merge::Dtype::Bf16,
        Dtype::F16 => stages::merge::Dtype::F16,
    };
    let job = Job { run: args.run.clone(), output: args.output.clone(), dtype };
    let report = stages::merge::run(&context.environment, &job, &mut context.screen())?;
    if context.json {
        output::json(&report);
        return Ok(());
    }
    let dir = shown(&report.output);
    output::line(format_args!("{dir}: {} tensors, {} ({})", report.tensors, stages::human::bytes(report.bytes), report.dtype));
    output::line(format_args!(
        "next:\n  {0} chat {dir}\n  (or load it with transformers: AutoModelForCausalLM.from_pretrained)",
        program()
    ));
    Ok(())
}
