//! `tunesmith train RECIPE`

use stages::train::Job;
use stages::{Recipe, Result};

use super::{Context, program, shown};
use crate::cli::Train;
use crate::output;

pub fn run(context: &Context, args: &Train) -> Result<()> {
    let mut sets = args.recipe.sets.clone();
    if let Some(steps) = args.max_steps {
        sets.push(format!("max_steps={steps}"));
    }
    let recipe = Recipe::load(&args.recipe.recipe, &sets)?;
    let job = Job { output_dir: args.output_dir.clone(), resume: args.resume, command: again(args), recipe };
    let summary = stages::train::run(&context.environment, &job, &mut context.screen())?;
    if context.json {
        output::json(&summary);
        return Ok(());
    }
    let dir = shown(&summary.output_dir);
    output::line(summary.to_text());
    output::line(format_args!(
        "\nnext:\n  open {dir}/report.html\n  {0} predict {dir} \"your text\"\n  {0} eval {dir} --data test.csv\n  {0} merge {dir} --output {dir}-merged",
        program()
    ));
    Ok(())
}

/// The command that goes on where this one was interrupted.
fn again(args: &Train) -> String {
    let mut words = vec![format!("{} train", program()), shown(&args.recipe.recipe)];
    if let Some(dir) = &args.output_dir {
        words.push(format!("--output-dir {}", shown(dir)));
    }
    words.extend(args.recipe.sets.iter().map(|s| format!("--set '{s}'")));
    if let Some(steps) = args.max_steps {
        words.push(format!("--max-steps {steps}"));
    }
    words.push("--resume".to_owned());
    words.join(" ")
}
