//! Who waits for whom in a circle.

use std::collections::VecDeque;

/// Whom each rank waits for.
pub(super) struct Graph {
    edges: Vec<Vec<usize>>,
}

impl Graph {
    pub fn new(edges: Vec<Vec<usize>>) -> Self {
        Graph { edges }
    }

    pub fn from(&self, rank: usize) -> &[usize] {
        &self.edges[rank]
    }

    /// The sets of ranks that wait for each other and for nobody else of those that count: where the
    /// causes are. Each is sorted, and so are they.
    pub fn ends(&self, counts: &[bool]) -> Vec<Vec<usize>> {
        let components = self.components(counts);
        let mut of = vec![usize::MAX; self.edges.len()];
        for (index, component) in components.iter().enumerate() {
            component.iter().for_each(|&rank| of[rank] = index);
        }
        let leads_out = |rank: usize, index: usize| {
            self.edges[rank].iter().any(|&to| counts[to] && of[to] != index)
        };
        let mut ends: Vec<Vec<usize>> = components
            .iter()
            .enumerate()
            .filter(|(index, component)| !component.iter().any(|&rank| leads_out(rank, *index)))
            .map(|(_, component)| component.clone())
            .collect();
        ends.sort();
        ends
    }

    /// Tarjan's strongly connected components, without recursion: a chain may be as long as the world.
    fn components(&self, counts: &[bool]) -> Vec<Vec<usize>> {
        const UNSEEN: usize = usize::MAX;
        let size = self.edges.len();
        let (mut order, mut lowest) = (vec![UNSEEN; size], vec![UNSEEN; size]);
        let (mut stack, mut on_stack) = (Vec::new(), vec![false; size]);
        let (mut components, mut next) = (Vec::new(), 0);
        for start in (0..size).filter(|&rank| counts[rank]) {
            if order[start] != UNSEEN {
                continue;
            }
            // Each rank of the path with the number of its edges that have been followed.
            let mut path: Vec<(usize, usize)> = Vec::new();
            let mut enter = Some(start);
            loop {
                if let Some(rank) = enter.take() {
                    (order[rank], lowest[rank]) = (next, next);
                    next += 1;
                    stack.push(rank);
                    on_stack[rank] = true;
                    path.push((rank, 0));
                }
                let Some((rank, followed)) = path.last_mut() else { break };
                let rank = *rank;
                if let Some(&to) = self.edges[rank].get(*followed) {
                    *followed += 1;
                    if counts[to] && order[to] == UNSEEN {
                        enter = Some(to);
                    } else if on_stack[to] {
                        lowest[rank] = lowest[rank].min(order[to]);
                    }
                    continue;
                }
                path.pop();
                if let Some(&(before, _)) = path.last() {
                    lowest[before] = lowest[before].min(lowest[rank]);
                }
                if lowest[rank] == order[rank] {
                    let at = stack.iter().rposition(|&it| it == rank).unwrap_or(0);
                    let mut component = stack.split_off(at);
                    component.iter().for_each(|&it| on_stack[it] = false);
                    component.sort_unstable();
                    components.push(component);
                }
            }
        }
        components
    }

    /// The shortest circle in a set that leads through its lowest possible rank, from there on.
    pub fn circle(&self, within: &[usize]) -> Option<Vec<usize>> {
        let circles = within.iter().filter_map(|&rank| self.circle_of(rank, within));
        circles.min_by_key(|circle| circle.len())
    }

    fn circle_of(&self, start: usize, within: &[usize]) -> Option<Vec<usize>> {
        let mut before = vec![None; self.edges.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(rank) = queue.pop_front() {
            for &to in &self.edges[rank] {
                if to == start {
                    let mut circle = vec![rank];
                    let mut at = rank;
                    while let Some(previous) = before[at] {
                        circle.push(previous);
                        at = previous;
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if before[to].is_none() && within.binary_search(&to).is_ok() {
                    before[to] = Some(rank);
                    queue.push_back(to);
                }
            }
        }
        None
    }
}
