//! What the oracle does not evaluate: asked before a workspace is given to it, so that files of forms that only the engine has can be
//! left out instead of panicking.

use super::walk::{Visit, definition};
use crate::lang::{Expr, Term, Workspace};

/// **Errors:** the first form that the oracle lacks, as a message calls it.
pub fn knows(workspace: &Workspace) -> Result<(), &'static str> {
    let mut finder = Finder { lacks: None };
    workspace.definitions.iter().for_each(|item| definition(item, &mut finder));
    finder.lacks.map_or(Ok(()), Err)
}

struct Finder {
    lacks: Option<&'static str>,
}

impl<'a> Visit<'a> for Finder {
    fn expr(&mut self, expr: &'a Expr) {
        if let Expr::Rank { .. } = expr {
            self.lacks.get_or_insert("`in top` and `in bottom`");
        }
    }

    fn term(&mut self, term: &'a Term) {
        if let Term::Ntile { .. } = term {
            self.lacks.get_or_insert("`ntile`");
        }
    }
}
