//! Makes a failing scenario small: drops records, then definitions, then parts of conditions, as long as it still fails.

use super::{Item, ItemBody, Scenario, Tree};

/// Tries until `budget` scenarios have been run. `fails` must be deterministic.
pub fn shrink(mut scenario: Scenario, mut budget: usize, mut fails: impl FnMut(&Scenario) -> bool) -> Scenario {
    let mut try_one = |candidate: Scenario, scenario: &mut Scenario| {
        if budget == 0 {
            return false;
        }
        budget -= 1;
        let smaller = fails(&candidate);
        if smaller {
            *scenario = candidate;
        }
        smaller
    };
    loop {
        let mut progress = false;
        // Runs of steps, halves first (Zeller's delta debugging).
        let mut length = scenario.steps.len().div_ceil(2);
        while length > 0 {
            let mut from = 0;
            while from < scenario.steps.len() {
                let mut candidate = scenario.clone();
                candidate.steps.drain(from..(from + length).min(scenario.steps.len()));
                if try_one(candidate, &mut scenario) {
                    progress = true;
                } else {
                    from += length;
                }
            }
            length /= 2;
        }
        let mut i = scenario.items.len();
        while i > 0 {
            i -= 1;
            let mut candidate = scenario.clone();
            candidate.items.remove(i);
            progress |= try_one(candidate, &mut scenario);
        }
        // Whole declarations of the catalogue, which stand one on a line.
        let mut i = scenario.catalogue.lines().count();
        while i > 0 {
            i -= 1;
            let mut candidate = scenario.clone();
            let kept = scenario.catalogue.lines().enumerate().filter(|(n, _)| *n != i).map(|(_, line)| format!("{line}\n"));
            candidate.catalogue = kept.collect();
            progress |= try_one(candidate, &mut scenario);
        }
        for i in 0..scenario.items.len() {
            'item: loop {
                for smaller in smaller_items(&scenario.items[i]) {
                    let mut candidate = scenario.clone();
                    candidate.items[i] = smaller;
                    if try_one(candidate, &mut scenario) {
                        progress = true;
                        continue 'item;
                    }
                }
                break;
            }
        }
        if !progress {
            return scenario;
        }
    }
}

fn smaller_items(item: &Item) -> Vec<Item> {
    let mut out = Vec::new();
    let mut push = |body: ItemBody| out.push(Item { name: item.name.clone(), body });
    match &item.body {
        ItemBody::Segment { when, exit, clauses, emit } => {
            let segment = |when: &Tree, exit: &Option<Tree>, clauses: &[String], emit: &[String]| ItemBody::Segment {
                when: when.clone(),
                exit: exit.clone(),
                clauses: clauses.to_vec(),
                emit: emit.to_vec(),
            };
            for i in 0..emit.len() {
                push(segment(when, exit, clauses, &without(emit, i)));
            }
            for i in 0..clauses.len() {
                push(segment(when, exit, &without(clauses, i), emit));
            }
            if let Some(tree) = exit {
                push(segment(when, &None, clauses, emit));
                for exit in tree.smaller() {
                    push(segment(when, &Some(exit), clauses, emit));
                }
            }
            for when in when.smaller() {
                push(segment(&when, exit, clauses, emit));
            }
        }
        ItemBody::Score { half_life, rules, cap } => {
            if cap.is_some() {
                push(ItemBody::Score { half_life: half_life.clone(), rules: rules.clone(), cap: None });
            }
            for i in 0..rules.len() {
                if rules.len() > 1 {
                    push(ItemBody::Score { half_life: half_life.clone(), rules: without(rules, i), cap: cap.clone() });
                }
            }
        }
        ItemBody::Points { rules } => smaller_list(rules, |rules| push(ItemBody::Points { rules })),
        ItemBody::Stages { stages, otherwise } => {
            smaller_list(stages, |stages| push(ItemBody::Stages { stages, otherwise: otherwise.clone() }));
        }
    }
    out
}

fn without<T: Clone>(all: &[T], i: usize) -> Vec<T> {
    let mut less = all.to_vec();
    less.remove(i);
    less
}

/// One entry less, or one with a smaller condition.
fn smaller_list(all: &[(String, Tree)], mut push: impl FnMut(Vec<(String, Tree)>)) {
    for i in 0..all.len() {
        if all.len() > 1 {
            push(without(all, i));
        }
        for smaller in all[i].1.smaller() {
            let mut changed = all.to_vec();
            changed[i].1 = smaller;
            push(changed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Step;
    use super::*;

    #[test]
    fn what_matters_stays_and_the_rest_goes() {
        let scenario = (0..100).map(Scenario::generate).find(|s| s.items.len() > 2 && s.steps.len() > 20).expect("one such seed");
        let wanted = scenario.steps.iter().find(|s| matches!(s, Step::Record(_))).expect("a record").clone();
        let name = scenario.items[1].name.clone();
        let small = shrink(scenario, 10_000, |s| s.steps.contains(&wanted) && s.items.iter().any(|i| i.name == name));
        assert_eq!(small.steps, [wanted]);
        assert_eq!(small.items.len(), 1);
    }
}
