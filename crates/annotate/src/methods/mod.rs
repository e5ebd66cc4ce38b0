//! Much from few labels: functions over rows of features, without a store.
//!
//! | module | answers |
//! |---|---|
//! | [`active`] | which rows should be labelled next? what would that have brought? |
//! | [`weak`] | what do rules that err and abstain say together? |
//! | [`rules`] | the rules themselves: keywords, expressions, lists, lengths, columns |
//! | [`distant`] | where do texts name what a knowledge base knows, and how often is that right? |
//! | [`pseudo`] | can a model's own labels of other rows teach it more? |
//! | [`audit`] | which labels are likely wrong? |
//!
//! Learners are `vectorize`'s ([`vectorize::Learner`]), so any classifier serves any method.

pub mod active;
pub mod audit;
pub mod distant;
pub mod pseudo;
pub mod rules;
pub mod weak;

/// What ends a method early.
pub type Result<T> = vectorize::Result<T>;
