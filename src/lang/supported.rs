//! What this version does not evaluate yet.
//!
//! The whole language is parsed and checked. A form in [`NOT_EVALUATED`] is refused with E16 afterwards, so that no definition is ever
//! silently nothing. Making a form work means: evaluate it, then delete its line here.

/// Forms that a version may not evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Points,
    Stages,
    Per,
    Key,
    Crossed,
    Consent,
    RequireConsent,
    InList,
    Session,
    SinceLast,
    Rank,
    Ntile,
    Band,
    Age,
    Bucket,
    Matches,
    Near,
    TraitChanged,
    HasOfList,
    EnterAfter,
    ExitAfter,
    Stay,
    Cooldown,
    Expire,
    Settle,
    BackfillReplay,
    ScoreArithmetic,
    ScoreAgainstTerm,
    ExtremeOfTime,
}

/// Form and how a message calls it.
const NOT_EVALUATED: &[(Form, &str)] =
    &[(Form::Rank, "`in top` and `in bottom`"), (Form::Ntile, "`ntile`"), (Form::BackfillReplay, "`backfill replay`")];

impl Form {
    /// What a message calls the form, if this version does not evaluate it.
    pub fn refused(self) -> Option<&'static str> {
        NOT_EVALUATED.iter().find(|(form, _)| *form == self).map(|(_, name)| *name)
    }
}

/// The forms that give E16, as a message calls them.
pub fn not_evaluated() -> impl Iterator<Item = &'static str> {
    NOT_EVALUATED.iter().map(|(_, name)| *name)
}
