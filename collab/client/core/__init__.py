"""The pure core of the client, without sockets, tasks and clocks; time is an argument."""
