"""What receivers are told, and how it is signed: Standard Webhooks 1.0 (https://www.standardwebhooks.com).

What is to be delivered, and when, is kept by `shared.jobs.deliveries`; the chores worker makes the requests.
"""
