//! Echo: the smallest peerlet. It says back what it is told, to a local program and across the ring.

use prost_peerlet::{Error, Message, Peerlet, Request, Result, client, route};

#[derive(Default)]
struct Echo;

impl Peerlet for Echo {
    fn serve(&mut self, request: Request) -> Result {
        if request.method != "echo" {
            return Err(Error::new("the only method is 'echo'"));
        }
        Ok(client::respond(request.id, Ok(&request.body))?)
    }

    fn deliver(&mut self, message: Message) -> Result {
        // What comes straight from a node is an answer; answering it would never end.
        if message.key.is_some() {
            route::send(message.origin, &message.payload)?;
        }
        Ok(())
    }
}

prost_peerlet::peerlet!(Echo);
