//! What a peerlet is: a type that handles events.

use core::fmt;

use crate::{Change, Failure, Message, NodeId, Request, Start, Verdict};

/// Why a handler gives up; nothing of the event takes effect. Any error converts into it with `?`.
pub struct Error(String);

impl Error {
    /// An error that says `reason`.
    pub fn new(reason: impl fmt::Display) -> Error {
        Error(reason.to_string())
    }
}

impl<E: core::error::Error> From<E> for Error {
    fn from(error: E) -> Error {
        Error::new(error)
    }
}

impl From<Error> for String {
    fn from(error: Error) -> String {
        error.0
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a handler ends.
pub type Result<T = ()> = core::result::Result<T, Error>;

/// The handlers of a peerlet. A node calls them one at a time, in order of arrival, on one instance that lives until
/// the application is removed or a handler traps; what must outlive the instance belongs in [`storage`](crate::storage).
pub trait Peerlet {
    /// Called first, once for each start of an instance. An error refuses to start.
    fn init(&mut self, start: Start) -> Result {
        let _ = start;
        Ok(())
    }

    /// This node is responsible for the message's key, or was addressed directly. By default no message is taken.
    fn deliver(&mut self, message: Message) -> Result {
        let _ = message;
        Err(Error::new("this application takes no messages"))
    }

    /// A per-hop message is about to go on to `next`. By default it goes on as it is.
    fn forward(&mut self, message: Message, next: NodeId) -> Verdict {
        let _ = (message, next);
        Verdict::Pass
    }

    /// The neighbourhood has changed.
    fn update(&mut self, change: Change) {
        let _ = change;
    }

    /// A timer has run out; `tag` is what was given when it was set.
    fn fired(&mut self, timer: u64, tag: u64) {
        let _ = (timer, tag);
    }

    /// A local program asks: answer now or later with [`client::respond`](crate::client::respond). By default no
    /// method is known.
    fn serve(&mut self, request: Request) -> Result {
        Err(Error::new(format_args!("unknown method '{}'", request.method)))
    }

    /// A route or a send came to nothing; `message` is the id that it returned.
    fn failed(&mut self, message: u64, reason: Failure) {
        let _ = (message, reason);
    }
}

/// Makes the type the component's peerlet. The one instance is made with [`Default`].
#[macro_export]
macro_rules! peerlet {
    ($peerlet:ty) => {
        const _: () = {
            ::std::thread_local! {
                static INSTANCE: ::core::cell::RefCell<$peerlet> = ::core::default::Default::default();
            }

            struct Component;

            impl $crate::Guest for Component {
                fn init(start: $crate::Start) -> ::core::result::Result<(), ::std::string::String> {
                    INSTANCE.with_borrow_mut(|it| $crate::Peerlet::init(it, start)).map_err(::core::convert::Into::into)
                }

                fn deliver(message: $crate::Message) -> ::core::result::Result<(), ::std::string::String> {
                    INSTANCE
                        .with_borrow_mut(|it| $crate::Peerlet::deliver(it, message))
                        .map_err(::core::convert::Into::into)
                }

                fn forward(message: $crate::Message, next: $crate::NodeId) -> $crate::Verdict {
                    INSTANCE.with_borrow_mut(|it| $crate::Peerlet::forward(it, message, next))
                }

                fn update(change: $crate::Change) {
                    INSTANCE.with_borrow_mut(|it| $crate::Peerlet::update(it, change));
                }

                fn fired(timer: u64, tag: u64) {
                    INSTANCE.with_borrow_mut(|it| $crate::Peerlet::fired(it, timer, tag));
                }

                fn serve(request: $crate::Request) -> ::core::result::Result<(), ::std::string::String> {
                    INSTANCE
                        .with_borrow_mut(|it| $crate::Peerlet::serve(it, request))
                        .map_err(::core::convert::Into::into)
                }

                fn failed(message: u64, reason: $crate::Failure) {
                    INSTANCE.with_borrow_mut(|it| $crate::Peerlet::failed(it, message, reason));
                }
            }

            // Elsewhere, as in the author's own tests, there is no node to export to, and linkers refuse the names.
            #[cfg(target_family = "wasm")]
    $crate::bindings::export!(Component with_types_in $crate::bindings);
            #[cfg(not(target_family = "wasm"))]
            let _ = $crate::is_component::<Component>;
        };
    };
}
