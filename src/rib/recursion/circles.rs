//! Who waits for themselves: the strongly connected parts of a graph.

/// A part for each node, by number; two nodes have the same one when each can be reached from the
/// other. Edges to nodes that are not there count for nothing.
///
/// Kosaraju's way, in time and memory of the size of the graph and without recursion, for a client
/// decides how long the chains are.
pub(super) fn parts(edges: &[Vec<usize>]) -> Vec<usize> {
    let mut against: Vec<Vec<usize>> = vec![Vec::new(); edges.len()];
    for (from, to) in
        edges.iter().enumerate().flat_map(|(from, all)| all.iter().map(move |to| (from, to)))
    {
        if let Some(sources) = against.get_mut(*to) {
            sources.push(from);
        }
    }
    let mut parts = vec![usize::MAX; edges.len()];
    let order = in_order_of_leaving(edges);
    for (part, root) in order.into_iter().rev().enumerate() {
        let mut open = vec![root];
        while let Some(node) = open.pop() {
            let Some(own) = parts.get_mut(node).filter(|own| **own == usize::MAX) else { continue };
            *own = part;
            open.extend(against.get(node).into_iter().flatten());
        }
    }
    parts
}

/// The nodes, each after all that are reached from it for the first time.
fn in_order_of_leaving(edges: &[Vec<usize>]) -> Vec<usize> {
    let mut seen = vec![false; edges.len()];
    let mut order = Vec::with_capacity(edges.len());
    for root in 0..edges.len() {
        let mut path = Vec::new();
        let mut entered = Some(root);
        loop {
            if let Some(node) = entered.take()
                && let Some(seen) = seen.get_mut(node).filter(|seen| !**seen)
            {
                *seen = true;
                path.push((node, edges.get(node).into_iter().flatten()));
            }
            let Some((node, rest)) = path.last_mut() else { break };
            match rest.next() {
                Some(next) => entered = Some(*next),
                None => {
                    order.push(*node);
                    path.pop();
                }
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(edges: &[&[usize]], a: usize, b: usize) -> bool {
        let edges: Vec<Vec<usize>> = edges.iter().map(|all| all.to_vec()).collect();
        let parts = parts(&edges);
        parts[a] == parts[b]
    }

    #[test]
    fn nodes_on_one_circle_are_one_part() {
        let edges: &[&[usize]] = &[&[1], &[2], &[0], &[0]];
        assert!(same(edges, 0, 1) && same(edges, 1, 2));
        assert!(!same(edges, 3, 0), "it leads to a circle and is not on it");
    }

    #[test]
    fn a_way_between_two_circles_is_on_neither() {
        let edges: &[&[usize]] = &[&[1], &[0, 2], &[3], &[4], &[3]];
        assert!(same(edges, 0, 1) && same(edges, 3, 4));
        assert!(!same(edges, 1, 2) && !same(edges, 2, 3) && !same(edges, 0, 3));
    }

    #[test]
    fn circles_that_touch_are_one_part() {
        let edges: &[&[usize]] = &[&[1, 2], &[0], &[0]];
        assert!(same(edges, 1, 2));
    }

    #[test]
    fn a_chain_of_any_length_has_no_circle_and_takes_no_stack() {
        let length = 200_000;
        let edges: Vec<Vec<usize>> = (0..length).map(|node| vec![node + 1]).collect();
        let mut parts = parts(&edges);
        parts.sort_unstable();
        parts.dedup();
        assert_eq!(parts.len(), length);
    }
}
