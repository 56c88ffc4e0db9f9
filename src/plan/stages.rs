//! Stages, and crossings of segments: what refers to published changes beside `in segment`.

use super::build::{Builder, refused};
use super::feature::{Feature, FeatureKind, NumberUnit};
use super::node::{Node, StagesUnit, TermNode, Unit, UnitId, UnitKind};
use crate::ids::DefinitionIndex;
use crate::lang::definition::{Direction, Stages, Unit as Period, Which, Window, Zone};

impl Builder<'_> {
    pub(super) fn stages(&mut self, definition: DefinitionIndex, stages: &Stages) {
        self.zone = self.zones.resolve(&Zone::Customer);
        self.some_key = None;
        let of = stages.stages.iter().map(|(name, when)| (name.as_str().into(), self.expr(when))).collect();
        let unit = self.units.len() as UnitId;
        let kind = UnitKind::Stages(StagesUnit { definition, stages: of, otherwise: stages.otherwise.as_str().into() });
        self.units.push(Unit { kind, dependents: Vec::new() });
        self.unit_of[definition.at()] = Some(unit);
    }

    /// `stage(x)`, as it was published.
    pub(super) fn stage(&self, definition: DefinitionIndex) -> TermNode {
        TermNode::Stage { unit: self.unit_before(definition) }
    }

    /// `entered segment s` and `left segment s`: the newest change in that direction, by its published `since`, as an instant in a window.
    pub(super) fn crossed(&mut self, direction: Direction, definition: DefinitionIndex, window: &Window) -> Node {
        let unit = self.unit_before(definition);
        let entered = direction == Direction::Entered;
        let place = usize::from(entered);
        let UnitKind::Segment(segment) = &mut self.units[unit as usize].kind else { refused("a segment that is none") };
        let feature = match segment.crossings[place] {
            Some(feature) => feature,
            None => {
                let feature = self.features.len() as u32;
                segment.crossings[place] = Some(feature);
                self.features.push(Feature::bare(FeatureKind::Crossings { definition, entered }, NumberUnit::Instant));
                feature
            }
        };
        let of = self.term_node(TermNode::Crossing { feature, unit });
        match window {
            Window::This(Period::Session) => Node::InSession { session: self.session(), of },
            Window::SinceLast(mark) => {
                let mark = self.instant_of(Which::Last, mark);
                Node::After { of, mark }
            }
            window => self.instant_in(of, window),
        }
    }

    fn unit_before(&self, definition: DefinitionIndex) -> UnitId {
        self.unit_of[definition.at()].unwrap_or_else(|| refused("a definition that stands after its user"))
    }
}
