//! `tunesmith data preview RECIPE`

use std::io::IsTerminal;

use stages::{Recipe, Result};

use super::Context;
use crate::cli::Preview;
use crate::output;

pub fn run(context: &Context, args: &Preview) -> Result<()> {
    let recipe = Recipe::load(&args.recipe.recipe, &args.recipe.sets)?;
    let preview = stages::preview::run(&context.environment, &recipe, args.rows, &mut context.screen())?;
    if context.json {
        preview.rows.iter().for_each(output::json);
        output::json(&preview.summary);
    } else {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        output::line(preview.to_text(colour));
    }
    Ok(())
}
