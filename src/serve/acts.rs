//! What administrators do over the API, in the audit trail.

use async_trait::async_trait;

use crate::admin::acts::{Act, Acts, Unrecorded};
use crate::audit::{Actor, ActorKind, Admin, Event, Outcome, Trail};

/// Records acts in the trail.
pub(super) struct InTrail(pub(super) Trail);

#[async_trait]
impl Acts for InTrail {
    async fn begin(&self, act: &Act) -> Result<u64, Unrecorded> {
        let number = self.0.next_request();
        let begun = self.0.record(event(act, number, Outcome::Begun)).await;
        match begun {
            Err(_) if self.0.is_required() => Err(Unrecorded),
            // What is not required and fails is counted, and told in the log.
            _ => Ok(number),
        }
    }

    async fn end(&self, act: &Act, number: u64, status: u16) {
        let outcome = match status {
            0..400 => Outcome::Done,
            400..500 => Outcome::Refused,
            _ => Outcome::Failed,
        };
        let _ = self.0.record(event(act, number, outcome)).await;
    }
}

fn event(act: &Act, number: u64, outcome: Outcome) -> Event {
    Event::Admin(Admin {
        request: number,
        actor: Actor {
            kind: ActorKind::AdminKey,
            name: act.actor.as_str().into(),
            role: Some(act.role.as_str()),
            key: Some(act.key.clone()),
        },
        act: act.act,
        target: act.target.as_str().into(),
        detail: act.detail.clone().into(),
        impersonation: act.impersonation,
        outcome,
        address: act.address,
    })
}
