"""Makes the database and somebody who may do everything."""

import django
from django.core.management import call_command

django.setup()
call_command("migrate", verbosity=0)

from django.contrib.auth.models import User  # noqa: E402 - models exist only after the setup

User.objects.create_superuser("aigerim", "aigerim@kz.example", "correct horse")
