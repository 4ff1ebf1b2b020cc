"""A worker for the steps of `cycle_by_shard`: `celery -A orchestration.celery_worker worker --pool solo`.

One step at a time in one process (`solo`): a step has worker processes of its own, which a child of Celery's pool may
not have. Several on a machine are several such commands.
"""

from dagster_celery.make_app import make_app
from dagster_celery.tasks import create_task

from orchestration.by_shard import celery_config
from sharding.settings import get_settings

app = make_app(celery_config(get_settings()))
execute_plan = create_task(app)
