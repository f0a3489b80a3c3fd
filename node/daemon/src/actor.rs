//! An application's instance from batch to batch, on whatever thread and in whatever time: the node's workers and the
//! simulator run the same.

use std::sync::Arc;

use prost_contract::{Execution, Limits, Outcome, Overlay, Receipt, SharedRecords, Trap, TrapKind};
use prost_manager::RunEvent;
use prost_sandbox::{Compiled, Instance, Signer, StartError};

/// One application's code, and its instance once there is one.
pub struct Actor {
    compiled: Compiled,
    limits: Limits,
    signer: Arc<dyn Signer>,
    instance: Option<Instance>,
}

impl Actor {
    /// Nothing runs before the first event.
    pub fn new(compiled: Compiled, limits: Limits, signer: Arc<dyn Signer>) -> Actor {
        Actor { compiled, limits, signer, instance: None }
    }

    /// Runs events in order, on an instance that is made where there is none, and stops at the first trap, or where
    /// `goes_on` says so of the event that has just run. `used` is what the application's records take now.
    pub fn run(
        &mut self,
        events: Vec<RunEvent>,
        records: SharedRecords,
        used: u64,
        mut goes_on: impl FnMut(&Execution) -> bool,
    ) -> Vec<Execution> {
        let mut overlay = Overlay::new(records);
        let mut executions = Vec::with_capacity(events.len());
        for RunEvent { event, mut context } in events {
            context.storage_used = used;
            let instance = match self.instance.take().filter(|instance| !instance.is_gone()) {
                Some(instance) => Ok(instance),
                None => Instance::start(&self.compiled, self.limits.clone(), Some(self.signer.clone()), &context),
            };
            let mut instance = match instance {
                Ok(instance) => instance,
                Err(error) => {
                    executions.push(not_started(&error));
                    break;
                }
            };
            let execution = instance.run(&event, &context, &mut overlay);
            let stops = instance.is_gone() || !goes_on(&execution);
            executions.push(execution);
            self.instance = Some(instance).filter(|instance| !instance.is_gone());
            if stops {
                break;
            }
        }
        executions
    }
}

/// An instance that does not start is a trap of the event that needed it.
fn not_started(error: &StartError) -> Execution {
    let (trap, receipt) = match error {
        StartError::Trapped { trap, receipt } => (trap.clone(), *receipt),
        StartError::NoSigner | StartError::NoRoom(_) => {
            (Trap { kind: TrapKind::Fault, message: error.to_string() }, Receipt::default())
        }
    };
    Execution { outcome: Outcome::Trapped(trap), effects: Vec::new(), writes: Vec::new(), receipt }
}
