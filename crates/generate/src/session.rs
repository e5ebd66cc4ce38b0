//! One conversation that keeps its key/value cache between turns.
