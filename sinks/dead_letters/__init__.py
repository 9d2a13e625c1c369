"""What could not be processed: written, limited by peer, shown, put back or discarded."""
