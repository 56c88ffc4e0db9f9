//! What the oracle does not evaluate: asked before a workspace is given to it, so that files of forms that only the engine has can be
//! left out instead of panicking.

use super::walk::{Visit, definition};
use crate::lang::{DefinitionKind, EventRef, Expr, LocalPath, Path, Selector, Term, TimeWindow, Window, Workspace};

/// **Errors:** the first form that the oracle lacks, as a message calls it.
pub fn knows(workspace: &Workspace) -> Result<(), &'static str> {
    let mut finder = Finder { lacks: None };
    for item in &workspace.definitions {
        match &item.kind {
            DefinitionKind::Segment(segment) => {
                let delays = [segment.enter_after, segment.exit_after, segment.stay, segment.cooldown, segment.expire, segment.settle];
                if delays.iter().any(Option::is_some) {
                    finder.note("delays of a segment");
                }
                if !segment.require_consent.is_empty() {
                    finder.note("`require consent`");
                }
            }
            DefinitionKind::Points(_) => finder.note("points"),
            DefinitionKind::Stages(_) => finder.note("stages"),
            DefinitionKind::Score(_) => {}
        }
        definition(item, &mut finder);
    }
    finder.lacks.map_or(Ok(()), Err)
}

struct Finder {
    lacks: Option<&'static str>,
}

impl Finder {
    fn note(&mut self, form: &'static str) {
        self.lacks.get_or_insert(form);
    }
}

impl Visit for Finder {
    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::NofM { .. } => self.note("`at least N of last M`"),
            Expr::Sequence(_) => self.note("`sequence`"),
            Expr::Crossed { .. } => self.note("`entered segment`"),
            Expr::Anniversary { .. } => self.note("`anniversary`"),
            Expr::Matches { .. } => self.note("`matches`"),
            Expr::Near { .. } => self.note("`within .. of geo`"),
            Expr::Rank { .. } => self.note("ranks"),
            Expr::Has { of, .. } if !matches!(of, Term::Path(Path::Cart(_))) => self.note("`has` on a list"),
            Expr::TimeIn { window: TimeWindow::NextFull { .. }, .. } => self.note("a window of full periods"),
            _ => {}
        }
    }

    fn term(&mut self, term: &Term) {
        match term {
            Term::Aggregate { per: Some(_), .. } => self.note("`per`"),
            Term::Points(_) => self.note("points"),
            Term::Stage(_) => self.note("stages"),
            Term::Bucket(_) => self.note("`bucket`"),
            Term::Ntile { .. } => self.note("`ntile`"),
            Term::Band { .. } => self.note("`band`"),
            Term::Key => self.note("`key`"),
            Term::Path(Path::Local(LocalPath::Time | LocalPath::Weekday | LocalPath::Hour | LocalPath::Date)) => self.note("`local`"),
            _ => {}
        }
    }

    fn window(&mut self, window: &Window) {
        match window {
            Window::This(_) | Window::Full { .. } | Window::Dates { .. } => self.note("a calendar window"),
            Window::SinceLast(_) => self.note("`since last`"),
            Window::Ever | Window::Last(_) | Window::Older(_) | Window::Between { .. } => {}
        }
    }

    fn selector(&mut self, selector: &Selector) {
        if selector.members.iter().any(|m| m.events.contains(&EventRef::TraitChanged)) {
            self.note("`trait_changed`");
        }
    }
}
