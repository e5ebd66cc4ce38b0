//! Rows that begin with the same tokens laid out once: a forest whose paths are the rows.
//!
//! Prompts of one task begin alike (a system message, an instruction, examples), conversations cut at several turns and several
//! answers to one question share still more. In a causal model a token depends on nothing behind it, so the common beginning of
//! several rows needs to be computed only once; what differs hangs below it. For the same reason nothing is laid out behind the
//! last token that a trained prediction needs.

use std::cmp::Reverse;

use crate::render::Rendered;

/// A node is worth its overhead if it spares this many tokens.
const MIN_SPARED: usize = 8;

/// A stretch of tokens with which one row goes on, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The node that comes before it, an earlier one.
    pub parent: Option<usize>,
    /// Number of tokens.
    pub len: usize,
    /// Position of its first token within the row.
    pub past: usize,
    /// A row that has these tokens, the first of them in the order of the rows.
    pub row: usize,
}

/// Where rows lie in a packed batch: nodes depth first, each behind its parent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forest {
    /// The nodes; their tokens follow one another.
    pub nodes: Vec<Node>,
    /// The node with which each row ends; `None` for an empty row.
    pub ends: Vec<Option<usize>>,
    /// First token of each node in the batch.
    starts: Vec<usize>,
}

impl Forest {
    /// Lays `rows` out; without `share` each is a tree of its own.
    pub fn new(rows: &[&[u32]], share: bool) -> Self {
        let mut draft = Draft { rows, nodes: Vec::new(), ends: vec![None; rows.len()] };
        if share {
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.sort_by_key(|&row| (rows[row], row));
            draft.descend(&order, 0, 0, None);
        } else {
            (0..rows.len()).for_each(|row| draft.leaf(row, 0, None));
        }
        draft.depth_first()
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.nodes.iter().map(|node| node.len).sum()
    }

    /// The parts `(parent, length)`, as the engine's segments take them.
    pub fn parts(&self) -> Vec<(Option<usize>, usize)> {
        self.nodes.iter().map(|node| (node.parent, node.len)).collect()
    }

    /// The place in the batch of token `position` of `row`, if it is laid out.
    pub fn place(&self, row: usize, position: usize) -> Option<usize> {
        let mut at = self.ends[row];
        while let Some(i) = at {
            let node = &self.nodes[i];
            if position >= node.past {
                return (position < node.past + node.len).then(|| self.starts[i] + position - node.past);
            }
            at = node.parent;
        }
        None
    }

    /// The tokens of the batch.
    pub fn ids(&self, rows: &[&[u32]]) -> Vec<u32> {
        self.nodes.iter().flat_map(|node| &rows[node.row][node.past..node.past + node.len]).copied().collect()
    }

    /// The rows in the order of the nodes with which they end, so that rows with much in common are neighbours; rows that share
    /// nothing stay in their order.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.ends.len()).collect();
        // A row without tokens has no place of its own and stays with the row before it.
        let mut ends = self.ends.clone();
        for row in 1..ends.len() {
            ends[row] = ends[row].or(ends[row - 1]);
        }
        order.sort_by_key(|&row| (ends[row], row));
        order
    }
}

/// A forest while it grows.
struct Draft<'a> {
    rows: &'a [&'a [u32]],
    nodes: Vec<Node>,
    ends: Vec<Option<usize>>,
}

impl Draft<'_> {
    fn leaf(&mut self, row: usize, depth: usize, parent: Option<usize>) {
        let len = self.rows[row].len();
        self.ends[row] = parent;
        if len > depth {
            self.ends[row] = Some(self.nodes.len());
            self.nodes.push(Node { parent, len: len - depth, past: depth, row });
        }
    }

    /// Places sorted rows that agree in their first `agreed` tokens, of which the first `depth` are laid out up to `parent`.
    fn descend(&mut self, sorted: &[usize], depth: usize, agreed: usize, parent: Option<usize>) {
        let rows = self.rows;
        for group in sorted.chunk_by(|&a, &b| rows[a].get(agreed) == rows[b].get(agreed)) {
            let (first, last) = (rows[group[0]], rows[group[group.len() - 1]]);
            // Sorted: what the first and the last have in common, all have.
            let common = agreed + first[agreed..].iter().zip(&last[agreed..]).take_while(|(a, b)| a == b).count();
            if group.len() == 1 || (common == agreed && first.len() == agreed) {
                group.iter().for_each(|&row| self.leaf(row, depth, parent));
            } else if (common - depth) * (group.len() - 1) >= MIN_SPARED {
                let node = Node { parent, len: common - depth, past: depth, row: group.iter().copied().min().unwrap_or(0) };
                self.nodes.push(node);
                self.descend(group, common, common, Some(self.nodes.len() - 1));
            } else {
                self.descend(group, depth, common, parent);
            }
        }
    }

    /// Puts each node behind its parent and siblings in the order of their first rows.
    fn depth_first(self) -> Forest {
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        let mut stack = Vec::new();
        for (i, node) in self.nodes.iter().enumerate() {
            node.parent.map_or(&mut stack, |p| &mut children[p]).push(i);
        }
        children.iter_mut().chain([&mut stack]).for_each(|list| list.sort_by_key(|&i| Reverse(self.nodes[i].row)));
        let mut forest = Forest::default();
        let mut place = vec![0; self.nodes.len()];
        let mut start = 0;
        while let Some(i) = stack.pop() {
            let node = self.nodes[i];
            place[i] = forest.nodes.len();
            forest.nodes.push(Node { parent: node.parent.map(|p| place[p]), ..node });
            forest.starts.push(start);
            start += node.len;
            stack.append(&mut children[i]);
        }
        forest.ends = self.ends.iter().map(|end| end.map(|i| place[i])).collect();
        forest
    }
}

/// A prediction that is trained, by one row or by several that are alike up to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedTarget {
    /// Index into the batch of the token *before* the predicted one.
    pub position: usize,
    /// The token to predict.
    pub token: u32,
    /// Number of rows that train it.
    pub rows: u32,
}

/// Rows laid out once where they begin alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedBatch {
    /// The tokens of all nodes.
    pub input_ids: Vec<u32>,
    /// Where rows lie.
    pub forest: Forest,
    /// The predictions that are trained, each once, by position and token.
    pub targets: Vec<SharedTarget>,
    /// For each row the targets that it trains, in the order of its tokens.
    pub of_row: Vec<Vec<u32>>,
    /// Tokens that were not laid out a second time.
    pub spared: usize,
    /// Length of the longest row, whether or not it is laid out to its end.
    pub longest: usize,
    /// Keys of the rows; see [`Rendered::key`].
    pub keys: Vec<u64>,
    /// Length of each row as far as it is laid out.
    pub lengths: Vec<usize>,
}

/// The tokens of a row that a trained prediction needs: all but those behind the last of them.
pub fn needed(row: &Rendered) -> &[u32] {
    let last = row.labels.iter().rposition(|&label| label >= 0).unwrap_or(0);
    &row.input_ids[..last]
}

impl SharedBatch {
    /// Lays rows out. Without `share` each row is there whole: where something depends on which row a token is in (dropout).
    pub fn new(rows: &[&Rendered], share: bool) -> Self {
        let tokens: Vec<&[u32]> = rows.iter().map(|row| needed(row)).collect();
        let forest = Forest::new(&tokens, share);
        let mut all: Vec<(usize, u32, usize)> = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            let trained = row.labels.iter().enumerate().skip(1).filter(|(_, label)| **label >= 0);
            all.extend(trained.filter_map(|(at, &label)| Some((forest.place(i, at - 1)?, label as u32, i))));
        }
        // By place; within a row places ascend.
        all.sort_unstable();
        let mut targets: Vec<SharedTarget> = Vec::with_capacity(all.len());
        let mut of_row = vec![Vec::new(); rows.len()];
        for (position, token, row) in all {
            match targets.last_mut().filter(|t| (t.position, t.token) == (position, token)) {
                Some(known) => known.rows += 1,
                None => targets.push(SharedTarget { position, token, rows: 1 }),
            }
            of_row[row].push(targets.len() as u32 - 1);
        }
        let lengths: Vec<usize> = tokens.iter().map(|t| t.len()).collect();
        SharedBatch {
            input_ids: forest.ids(&tokens),
            spared: lengths.iter().sum::<usize>() - forest.tokens(),
            longest: rows.iter().map(|row| row.input_ids.len()).max().unwrap_or(0),
            keys: rows.iter().map(|row| row.key).collect(),
            lengths,
            targets,
            of_row,
            forest,
        }
    }
}

impl SharedBatch {
    /// The places whose predictions are trained, ascending, and for each target which of them it is.
    pub fn wanted(&self) -> (Vec<u32>, Vec<u32>) {
        let mut places: Vec<u32> = Vec::new();
        let mut of_target = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            if places.last() != Some(&(target.position as u32)) {
                places.push(target.position as u32);
            }
            of_target.push(places.len() as u32 - 1);
        }
        (places, of_target)
    }
}

/// Cuts a batch of rows into groups of at most `most` tokens (a longer row stands alone), rows that begin alike together. What is
/// returned are indices into `rows`; rows that share nothing keep their order.
pub fn groups(rows: &[&Rendered], share: bool, most: usize) -> Vec<Vec<usize>> {
    let tokens: Vec<&[u32]> = rows.iter().map(|row| needed(row)).collect();
    let forest = Forest::new(&tokens, share);
    if forest.tokens() <= most {
        return if rows.is_empty() { Vec::new() } else { vec![(0..rows.len()).collect()] };
    }
    // Nodes that the present group has laid out.
    let mut held = vec![usize::MAX; forest.nodes.len()];
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut filled = 0;
    for row in forest.order() {
        let path = || std::iter::successors(forest.ends[row], |&i| forest.nodes[i].parent);
        let group = groups.len();
        let added: usize = path().filter(|&i| held[i] != group).map(|i| forest.nodes[i].len).sum();
        if groups.is_empty() || filled + added > most {
            groups.push(vec![row]);
            filled = tokens[row].len();
        } else {
            groups[group - 1].push(row);
            filled += added;
        }
        path().for_each(|i| held[i] = groups.len());
    }
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::IGNORED;
    use proptest::prelude::*;

    fn row(ids: &[u32], trained: impl Fn(usize) -> bool) -> Rendered {
        let labels = ids.iter().enumerate().map(|(i, &id)| if trained(i) { id as i32 } else { IGNORED }).collect();
        Rendered { input_ids: ids.to_vec(), labels, cut: 0, key: ids.len() as u64 }
    }

    fn node(parent: Option<usize>, past: usize, len: usize, row: usize) -> Node {
        Node { parent, len, past, row }
    }

    #[test]
    fn a_prompt_with_several_answers_is_there_once() {
        let prompt: Vec<u32> = (0..20).collect();
        let answers: [&[u32]; 4] = [&[100, 101, 102], &[200], &[100, 101, 102], &[]];
        let rows: Vec<Vec<u32>> = answers.iter().map(|a| [&prompt[..], a].concat()).collect();
        let slices: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let forest = Forest::new(&slices, true);
        // Three tokens that two rows have are not worth a node of their own.
        assert_eq!(forest.nodes, [node(None, 0, 20, 0), node(Some(0), 20, 3, 0), node(Some(0), 20, 1, 1), node(Some(0), 20, 3, 2)]);
        assert_eq!(forest.ends, [Some(1), Some(2), Some(3), Some(0)]);
        assert_eq!(
            (forest.place(1, 20), forest.place(2, 22), forest.place(3, 19), forest.place(3, 20)),
            (Some(23), Some(26), Some(19), None)
        );
        assert_eq!(Forest::new(&slices, false).tokens(), 87);
    }

    #[test]
    fn nothing_is_laid_out_behind_the_last_prediction() {
        // Trained: tokens 3 and 4 of six; token 4 is predicted by token 3, and nothing needs 4 and 5.
        let a = row(&[1, 2, 3, 4, 5, 6], |i| i == 3 || i == 4);
        let none = row(&[1, 2], |_| false);
        let batch = SharedBatch::new(&[&a, &none], true);
        assert_eq!(batch.input_ids, [1, 2, 3, 4]);
        assert_eq!((batch.longest, batch.lengths, batch.forest.ends), (6, vec![4, 0], vec![Some(0), None]));
        let target = |position, token| SharedTarget { position, token, rows: 1 };
        assert_eq!(batch.targets, [target(2, 4), target(3, 5)]);
        assert_eq!(batch.of_row, [vec![0, 1], vec![]]);
    }

    #[test]
    fn what_several_rows_train_counts_for_each() {
        let ids: Vec<u32> = (0..12).collect();
        let other: Vec<u32> = (0..10).chain([50, 51]).collect();
        let rows = [row(&ids, |i| i > 4), row(&other, |i| i > 6), row(&ids, |i| i > 9)];
        let batch = SharedBatch::new(&rows.iter().collect::<Vec<_>>(), true);
        let count = |position, token| batch.targets.iter().find(|t| (t.position, t.token) == (position, token)).map(|t| t.rows);
        assert_eq!((count(4, 5), count(6, 7), count(9, 10), count(9, 50)), (Some(1), Some(2), Some(2), Some(1)));
        assert_eq!(batch.targets.iter().map(|t| t.rows as usize).sum::<usize>(), rows.iter().map(Rendered::trained_tokens).sum::<usize>());
    }

    fn rows() -> impl Strategy<Value = Vec<Rendered>> {
        // Two token values and few lengths: many rows begin alike, some are equal, some are the beginning of others.
        let ids = prop::collection::vec(0u32..2, 1..40);
        let one = (prop::sample::select(vec![0usize, 5, 12, 30]), ids, 0usize..5).prop_map(|(shared, ids, every)| {
            let ids: Vec<u32> = (0..shared as u32).map(|i| i % 3).chain(ids).collect();
            row(&ids, |i| every > 0 && i % every == 0)
        });
        prop::collection::vec(one, 0..9)
    }

    proptest! {
        #[test]
        fn every_row_is_a_path_and_every_target_is_its_rows(rows in rows(), share: bool, most in 1usize..120) {
            let rows: Vec<&Rendered> = rows.iter().collect();
            let batch = SharedBatch::new(&rows, share);
            let forest = &batch.forest;
            prop_assert_eq!(batch.input_ids.len(), forest.tokens());
            prop_assert!(share || batch.spared == 0);
            for (i, node) in forest.nodes.iter().enumerate() {
                let before = node.parent.map_or(0, |p| forest.nodes[p].past + forest.nodes[p].len);
                prop_assert!(node.parent.is_none_or(|p| p < i) && node.past == before && node.len > 0);
            }
            for (i, row) in rows.iter().enumerate() {
                let needed = needed(row);
                for (at, &id) in needed.iter().enumerate() {
                    prop_assert_eq!(forest.place(i, at).map(|p| batch.input_ids[p]), Some(id));
                }
                prop_assert_eq!(forest.place(i, needed.len()), None);
                // The row's own predictions, in order.
                let own: Vec<(Option<usize>, u32)> = (1..row.labels.len()).filter(|&at| row.labels[at] >= 0).map(|at| (forest.place(i, at - 1), row.labels[at] as u32)).collect();
                let told: Vec<(Option<usize>, u32)> = batch.of_row[i].iter().map(|&t| &batch.targets[t as usize]).map(|t| (Some(t.position), t.token)).collect();
                prop_assert_eq!(own, told);
            }
            prop_assert!(batch.targets.windows(2).all(|w| (w[0].position, w[0].token) < (w[1].position, w[1].token)));

            let groups = groups(&rows, share, most);
            let mut all = groups.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..rows.len()).collect::<Vec<_>>());
            for group in &groups {
                let part: Vec<&Rendered> = group.iter().map(|&i| rows[i]).collect();
                prop_assert!(group.len() == 1 || SharedBatch::new(&part, share).forest.tokens() <= most + MIN_SPARED * group.len());
            }
            if !share {
                prop_assert_eq!(groups.concat(), (0..rows.len()).collect::<Vec<_>>());
            }
        }
    }
}
