//! Ctrl-C: the first asks the work to save and return, the second ends the process at once. Checkpoints appear by rename, so even
//! that loses none.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::output;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Exit status of a process ended by SIGINT, as shells count it.
const INTERRUPTED: i32 = 130;

/// Listens to SIGINT, SIGTERM and SIGHUP from now on.
pub fn listen() {
    // A second handler cannot be set; then the default (end at once) stays, which is safe too.
    let _ = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED);
        }
        output::note("\nstopping after the current batch; press Ctrl-C again to end at once");
    });
}

/// Whether the user asked to stop.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}
