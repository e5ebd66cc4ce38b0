//! The training loop's events as lines for people.

use train::{Event, Observer};

use crate::environment::Memory;
use crate::human;
use crate::measure::headline_of_numbers;
use crate::progress::{Progress, TrainEvent};

/// Between the loop and a stage's progress.
pub(crate) struct Watch<'p> {
    progress: &'p mut dyn Progress,
    speed: f64,
    left: f64,
    total_steps: u64,
}

impl<'p> Watch<'p> {
    pub fn new(progress: &'p mut dyn Progress) -> Self {
        Self { progress, speed: 0.0, left: f64::NAN, total_steps: 0 }
    }

    /// The loop has ended, well or badly.
    pub fn end(&mut self) {
        self.progress.train(&TrainEvent::End);
    }

    fn line(&mut self, text: String) {
        self.progress.train(&TrainEvent::Line(text));
    }
}

impl Observer for Watch<'_> {
    fn on(&mut self, event: Event<'_>) {
        let memory = Memory::now().rss.map_or_else(String::new, |b| format!(", {}", human::bytes(b)));
        match event {
            Event::Start(start) => {
                self.total_steps = start.total_steps;
                let share = 100.0 * start.trainable_parameters as f64 / start.total_parameters.max(1) as f64;
                let text = format!(
                    "train  {} of {} parameters ({share:.2}%), {}, {}",
                    human::count(start.trainable_parameters),
                    human::count(start.total_parameters),
                    human::plural(start.rows, "row"),
                    human::plural(start.total_steps as usize, "step")
                );
                self.progress.train(&TrainEvent::Start { text, done_steps: start.done_steps, total_steps: start.total_steps });
            }
            Event::Resumed { checkpoint, step, metrics_cut, .. } => {
                let cut = if metrics_cut > 0 { format!("; {metrics_cut} later lines of metrics.jsonl were cut") } else { String::new() };
                self.line(format!("resumed from {} (step {step}){cut}", checkpoint.display()));
            }
            Event::Step(step) => {
                (self.speed, self.left) = (step.tokens_per_second, step.seconds_left);
                let text = format!(
                    "step {}/{} loss {:.4} lr {:.2e} grad {:.3} {:.0} tok/s{memory} {} left",
                    step.step,
                    step.total_steps,
                    step.loss,
                    step.learning_rate,
                    step.grad_norm,
                    step.tokens_per_second,
                    human::duration(step.seconds_left)
                );
                self.progress.train(&TrainEvent::Step { text, step: step.step });
            }
            Event::Logged(log) => {
                let left = if self.left.is_finite() { format!(", {} left", human::duration(self.left)) } else { String::new() };
                let speed = self.speed;
                self.line(format!(
                    "  step {:>5}/{} epoch {:.2} loss {:.4} lr {:.2e} grad_norm {:.3}  {speed:.0} tokens/s{memory}{left}",
                    log.step, self.total_steps, log.epoch, log.loss, log.learning_rate, log.grad_norm
                ));
            }
            Event::Evaluated(record) => {
                let best = if record.best { " (best so far)" } else { "" };
                self.line(format!("  step {:>5} held out: {}{best}", record.step, headline_of_numbers(&record.metrics)));
            }
            Event::Saved { checkpoint, bytes, .. } => {
                self.line(format!("  saved {} ({})", checkpoint.display(), human::bytes(bytes)));
            }
            Event::Message(text) => self.progress.note(text),
            _ => {}
        }
    }

    fn should_stop(&mut self) -> bool {
        self.progress.cancelled()
    }
}
