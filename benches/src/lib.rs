//! What knows nothing of cases and peers: building and running programs, figures for people, what can be
//! said of the machine; and what some of the programs that are run share.

pub mod build;
pub mod child;
pub mod epoll;
pub mod figures;
#[path = "../../examples/net/http.rs"]
pub mod http;
pub mod machine;
pub mod noise;
pub mod server;
