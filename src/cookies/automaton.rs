//! A byte automaton that finds the best rule for a name in one pass over the name.
//!
//! A trie of all patterns, laid out as a double array: one addition and one comparison per byte, whatever the number
//! of rules. What each place means (which rule wins if the name ends here, which if it goes on) is settled when it is
//! built, so the walk only moves. Never looks at a byte twice and never allocates while walking. Bound: about one
//! cell per byte of all patterns, and one row of 256 spare cells.

use std::collections::BTreeMap;

/// No rule.
pub(super) const NONE: u16 = u16::MAX;

/// The finished automaton.
#[derive(Debug)]
pub(super) struct Automaton {
    cells: Vec<Cell>,
    /// What each cell means; apart from the cells, since a walk needs one of them only.
    outcomes: Vec<Outcome>,
}

/// Patterns on their way into an automaton.
#[derive(Debug)]
pub(super) struct Builder {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug)]
struct Cell {
    /// The cell of the next byte `b` is `base + b`, if that cell's parent is this one.
    base: u32,
    parent: u32,
}

#[derive(Clone, Copy, Debug)]
struct Outcome {
    /// The rule if the name ends here.
    at_end: u16,
    /// The rule if the name goes on with a byte that leads nowhere.
    at_other: u16,
}

#[derive(Debug, Default)]
struct Node {
    children: BTreeMap<u8, usize>,
    exact: Vec<u16>,
    prefix: Vec<u16>,
}

/// Where a walk ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// How many bytes it went.
    pub(super) walked: usize,
    /// The rule if the name ends here.
    pub(super) at_end: u16,
    /// The rule if the name goes on.
    pub(super) at_other: u16,
}

impl Automaton {
    /// Goes as far along the bytes as some pattern goes.
    #[inline]
    pub(super) fn walk(&self, bytes: &[u8]) -> Stop {
        self.walk_with(bytes, |byte| byte)
    }

    /// The same for patterns that were added in lower case.
    pub(super) fn walk_folded(&self, bytes: &[u8]) -> Stop {
        self.walk_with(bytes, |byte| byte.to_ascii_lowercase())
    }

    #[inline]
    fn walk_with(&self, bytes: &[u8], fold: impl Fn(u8) -> u8) -> Stop {
        let mut here = 0;
        let mut base = FIRST_BASE;
        let mut walked = 0;
        for &byte in bytes {
            let next = base.wrapping_add(u32::from(fold(byte)));
            match self.cells.get(next as usize) {
                Some(cell) if cell.parent == here => {
                    here = next;
                    base = cell.base;
                    walked += 1;
                }
                _ => break,
            }
        }
        let outcome = self.outcomes.get(here as usize).copied().unwrap_or(Outcome::NONE);
        Stop { walked, at_end: outcome.at_end, at_other: outcome.at_other }
    }
}

impl Stop {
    /// The rule for a name of this length.
    #[inline]
    pub(super) const fn rule(self, name_length: usize) -> u16 {
        if self.walked == name_length { self.at_end } else { self.at_other }
    }
}

impl Builder {
    /// No pattern yet.
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// Adds a pattern: a whole name, or the beginning of names.
    pub(super) fn add(&mut self, pattern: &[u8], prefix: bool, rule: u16) {
        let mut node = 0;
        for &byte in pattern {
            node = match self.nodes[node].children.get(&byte) {
                Some(&child) => child,
                None => {
                    let child = self.nodes.len();
                    self.nodes.push(Node::default());
                    self.nodes[node].children.insert(byte, child);
                    child
                }
            };
        }
        let node = &mut self.nodes[node];
        if prefix { &mut node.prefix } else { &mut node.exact }.push(rule);
    }

    /// Lays the trie out. `rank` orders rules: the smallest wins.
    pub(super) fn finish(self, rank: impl Fn(u16) -> u32) -> Automaton {
        let best = |rules: &[u16], inherited: u16| {
            let all = rules.iter().copied().chain((inherited != NONE).then_some(inherited));
            all.min_by_key(|&rule| rank(rule)).unwrap_or(NONE)
        };
        let mut cells = vec![Cell::FREE; ROW + 1];
        cells[0] = Cell { base: FIRST_BASE, parent: ROOT };
        let mut outcomes = vec![Outcome::NONE; cells.len()];
        let mut from = 1;
        let mut queue = std::collections::VecDeque::from([(0_usize, 0_usize, NONE)]);
        while let Some((node, at, inherited)) = queue.pop_front() {
            let node = &self.nodes[node];
            let at_other = best(&node.prefix, inherited);
            outcomes[at] = Outcome { at_end: best(&node.exact, at_other), at_other };
            let Some(&lowest) = node.children.keys().next() else { continue };
            // The root comes first, and every base is free for it.
            let base = if at == 0 {
                FIRST_BASE as usize
            } else {
                place(&mut cells, &mut from, lowest, &node.children)
            };
            outcomes.resize(cells.len(), Outcome::NONE);
            cells[at].base = u32::try_from(base).unwrap_or(u32::MAX);
            for (&byte, &child) in &node.children {
                let cell = base + usize::from(byte);
                cells[cell].parent = u32::try_from(at).unwrap_or(ROOT);
                queue.push_back((child, cell, at_other));
            }
        }
        Automaton { cells, outcomes }
    }
}

impl Outcome {
    const NONE: Self = Self { at_end: NONE, at_other: NONE };
}

impl Cell {
    const FREE: Self = Self { base: 0, parent: FREE_PARENT };

    const fn is_taken(&self) -> bool {
        self.parent != FREE_PARENT
    }
}

/// A base at which all children find a free cell; grows the array so that the row is inside it. `from` is the first cell
/// that is tried, and moves on when the cells behind it are nearly full: else building would be quadratic.
fn place(cells: &mut Vec<Cell>, from: &mut usize, lowest: u8, children: &BTreeMap<u8, usize>) -> usize {
    // A base of 0 would let a child lie on the root.
    let first = from.saturating_sub(usize::from(lowest)).max(1);
    let mut base = first;
    loop {
        if cells.len() < base + ROW {
            cells.resize(base + ROW, Cell::FREE);
        }
        if children.keys().all(|&byte| !cells[base + usize::from(byte)].is_taken()) {
            break;
        }
        base += 1;
    }
    if base - first > PATIENCE {
        *from = base + usize::from(lowest);
    }
    base
}

/// Cells tried before the search begins further on.
const PATIENCE: usize = 32;
/// The root's children lie behind the root.
const FIRST_BASE: u32 = 1;
const ROW: usize = 256;
const FREE_PARENT: u32 = u32::MAX;
const ROOT: u32 = u32::MAX - 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same question, asked of each pattern in turn.
    fn slow(patterns: &[(Vec<u8>, bool)], name: &[u8]) -> u16 {
        let hit = |(pattern, prefix): &(Vec<u8>, bool)| {
            if *prefix { name.starts_with(pattern) } else { name == pattern.as_slice() }
        };
        (0..patterns.len()).find(|&i| hit(&patterns[i])).map_or(NONE, |i| i as u16)
    }

    proptest! {
        #[test]
        fn finds_what_a_linear_search_finds(
            patterns in proptest::collection::vec((proptest::collection::vec(97_u8..=100, 1..5), any::<bool>()), 0..20),
            names in proptest::collection::vec(proptest::collection::vec(97_u8..=101, 0..7), 1..20),
        ) {
            let mut builder = Builder::new();
            for (i, (pattern, prefix)) in patterns.iter().enumerate() {
                builder.add(pattern, *prefix, i as u16);
            }
            let automaton = builder.finish(u32::from);
            for name in &names {
                prop_assert_eq!(automaton.walk(name).rule(name.len()), slow(&patterns, name));
            }
        }
    }

    #[test]
    fn every_byte_value_can_be_part_of_a_pattern() {
        let mut builder = Builder::new();
        for byte in 0..=255_u8 {
            builder.add(&[byte, 255 - byte], false, u16::from(byte));
        }
        let automaton = builder.finish(u32::from);
        for byte in 0..=255_u8 {
            assert_eq!(automaton.walk(&[byte, 255 - byte]).rule(2), u16::from(byte));
            assert_eq!(automaton.walk(&[byte]).rule(1), NONE);
        }
    }

    #[test]
    fn an_empty_automaton_finds_nothing() {
        let automaton = Builder::new().finish(u32::from);
        assert_eq!(automaton.walk(b"").rule(0), NONE);
        assert_eq!(automaton.walk(b"\0").rule(1), NONE);
    }

    #[test]
    fn takes_about_one_cell_per_byte_of_all_patterns() {
        let mut builder = Builder::new();
        let mut bytes = 0;
        for i in 0..3000_u16 {
            let pattern = format!("{:x}_cookie_{i}", i.wrapping_mul(40_503));
            bytes += pattern.len();
            builder.add(pattern.as_bytes(), false, i);
        }
        assert!(builder.finish(u32::from).cells.len() < bytes + 2 * ROW);
    }
}
