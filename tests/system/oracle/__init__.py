"""What cron's slots must be, found out by other means than chimpd's."""
