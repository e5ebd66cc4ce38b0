//! `tunesmith plan RECIPE`

use stages::{Recipe, Result};

use super::Context;
use crate::cli::Plan;
use crate::output;

pub fn run(context: &Context, args: &Plan) -> Result<()> {
    let recipe = Recipe::load(&args.recipe.recipe, &args.recipe.sets)?;
    let plan = stages::plan::run(&context.environment, &recipe, &mut context.screen())?;
    if context.json {
        output::json(&plan);
    } else {
        output::line(plan.to_text());
    }
    Ok(())
}
