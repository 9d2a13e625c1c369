"""Keeps the product's processes at work.

policy      pure: after an end, how long to wait, or to give up
component   what is known of one process: how to start it, ask after it, end it
keeper      one thread for one component: start, watch, start again
supervisor  all of them, in order; the status file; what an earlier supervisor left behind
daemon      the process that `streamco up` leaves behind
"""
