"""What has to be done beside painting: purging what has expired, sweeping what crashes left. No torch."""
