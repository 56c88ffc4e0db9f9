//! A condition as a tree, so that shrinking can take it apart.

use std::fmt;

/// Leaves are text; what combines them is not.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Leaf(String),
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Not(Box<Tree>),
    /// `for at least`.
    Held(Box<Tree>, String),
}

impl Tree {
    fn inner(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tree::Leaf(text) => f.write_str(text),
            other => write!(f, "({other})"),
        }
    }

    /// Trees that are smaller by one cut: a child instead of the whole, one operand less, or a smaller child.
    pub fn smaller(&self) -> Vec<Tree> {
        let mut out = Vec::new();
        match self {
            Tree::Leaf(text) => out.extend(shorter(text).into_iter().map(Tree::Leaf)),
            Tree::And(all) | Tree::Or(all) => {
                out.extend(all.iter().cloned());
                let again = |all: Vec<Tree>| if matches!(self, Tree::And(_)) { Tree::And(all) } else { Tree::Or(all) };
                for (i, child) in all.iter().enumerate() {
                    if all.len() > 2 {
                        let mut less = all.clone();
                        less.remove(i);
                        out.push(again(less));
                    }
                    for small in child.smaller() {
                        let mut changed = all.clone();
                        changed[i] = small;
                        out.push(again(changed));
                    }
                }
            }
            Tree::Not(child) => {
                out.push((**child).clone());
                out.extend(child.smaller().into_iter().map(|c| Tree::Not(Box::new(c))));
            }
            Tree::Held(child, d) => {
                out.push((**child).clone());
                out.extend(child.smaller().into_iter().map(|c| Tree::Held(Box::new(c), d.clone())));
            }
        }
        out
    }
}

/// The text without one of its filters, or without a few words that follow each other: what still compiles, compiles.
fn shorter(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut opened = Vec::new();
    for (i, c) in text.char_indices() {
        match c {
            '[' => opened.push(i),
            ']' => out.extend(opened.pop().map(|from| format!("{}{}", &text[..from], &text[i + 1..]))),
            _ => {}
        }
    }
    let words: Vec<&str> = text.split(' ').collect();
    for length in [6, 5, 4, 3, 2, 1] {
        for from in 1..words.len().saturating_sub(length) {
            out.push([&words[..from], &words[from + length..]].concat().join(" "));
        }
    }
    out
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, all: &[Tree], word: &str| {
            for (i, child) in all.iter().enumerate() {
                if i > 0 {
                    write!(f, " {word} ")?;
                }
                child.inner(f)?;
            }
            Ok(())
        };
        match self {
            Tree::Leaf(text) => f.write_str(text),
            Tree::And(all) => joined(f, all, "and"),
            Tree::Or(all) => joined(f, all, "or"),
            Tree::Not(child) => {
                f.write_str("not ")?;
                write!(f, "({child})")
            }
            Tree::Held(child, d) => write!(f, "({child}) for at least {d}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_print_with_all_parentheses_and_shrink_to_leaves() {
        let leaf = |s: &str| Tree::Leaf(s.into());
        assert_eq!(shorter("any a[n = 1] ever")[0], "any a ever");
        let tree = Tree::And(vec![leaf("a"), Tree::Not(Box::new(Tree::Held(Box::new(leaf("b")), "5m".into())))]);
        assert_eq!(tree.to_string(), "a and (not ((b) for at least 5m))");
        let smaller: Vec<String> = tree.smaller().iter().map(Tree::to_string).collect();
        assert_eq!(smaller, ["a", "not ((b) for at least 5m)", "a and ((b) for at least 5m)", "a and (not (b))"]);
    }
}
