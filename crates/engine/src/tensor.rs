//! Handles to the activations that a tape owns.
//!
//! Handles are counted (without a heap allocation each), because the moment at which model code lets go of an
//! activation is the moment at which the tape may reuse its buffer.

use std::cell::RefCell;
use std::rc::Rc;

/// Handle counts of one tape and the list of nodes whose last handle was dropped since the tape last looked.
#[derive(Default)]
pub(crate) struct Handles {
    counts: RefCell<Vec<u32>>,
    dead: RefCell<Vec<u32>>,
}

impl Handles {
    /// Registers the first handle of node `id` (ids are handed out in order).
    pub(crate) fn register(&self, id: u32) {
        let mut counts = self.counts.borrow_mut();
        debug_assert_eq!(counts.len(), id as usize);
        counts.push(1);
    }

    /// The next node without a handle that the tape has not yet seen.
    pub(crate) fn pop_dead(&self) -> Option<u32> {
        self.dead.borrow_mut().pop()
    }
}

/// A `[rows, cols]` activation on a [`Tape`](crate::Tape). Cheap to clone; drop it as soon as it is not needed.
pub struct Tensor {
    pub(crate) id: u32,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) handles: Rc<Handles>,
}

impl Tensor {
    /// Number of rows (tokens).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns (features).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The whole tensor as a view.
    pub fn full(&self) -> View<'_> {
        View { tensor: self, col: 0, width: self.cols }
    }

    /// The columns `col..col + width`, e.g. the keys of a fused QKV projection.
    pub fn view(&self, col: usize, width: usize) -> View<'_> {
        View { tensor: self, col, width }
    }
}

impl Clone for Tensor {
    fn clone(&self) -> Self {
        self.handles.counts.borrow_mut()[self.id as usize] += 1;
        Tensor { id: self.id, rows: self.rows, cols: self.cols, handles: Rc::clone(&self.handles) }
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        let count = &mut self.handles.counts.borrow_mut()[self.id as usize];
        *count -= 1;
        if *count == 0 {
            self.handles.dead.borrow_mut().push(self.id);
        }
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor#{}[{}, {}]", self.id, self.rows, self.cols)
    }
}

/// A range of columns of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct View<'t> {
    /// The tensor.
    pub tensor: &'t Tensor,
    /// First column.
    pub col: usize,
    /// Number of columns.
    pub width: usize,
}

impl<'t> From<&'t Tensor> for View<'t> {
    fn from(tensor: &'t Tensor) -> Self {
        tensor.full()
    }
}
