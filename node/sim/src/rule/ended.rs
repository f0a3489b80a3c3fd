//! R6, the end: no lookup ends twice or never.

use super::{Broken, Moment, Rule};

/// Each lookup of a node that lives ends exactly once, by its deadline.
#[derive(Debug)]
pub struct Ends;

impl Rule for Ends {
    fn name(&self) -> &'static str {
        "R6 lookups end once"
    }

    fn check(&mut self, moment: &Moment) -> Result<(), Broken> {
        if let Some(ended) = moment.ended.iter().find(|ended| ended.again) {
            let text = format!("lookup {} of {:?} ended twice", ended.asked.request, ended.asked.key);
            return Err(Broken::at(moment.now, ended.asked.node, text));
        }
        let Some(asked) = moment.overdue.first() else { return Ok(()) };
        let waited = moment.now.since(asked.at);
        let text = format!("lookup {} of {:?} has not ended after {waited:?}", asked.request, asked.key);
        Err(Broken::at(moment.now, asked.node, text))
    }
}
