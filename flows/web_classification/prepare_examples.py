"""Node: worked examples that show the model what an answer looks like."""

from promptflow.core import tool


@tool
def prepare_examples() -> list:
    """One example of each category: address, text, category and what gave it away."""
    return [
        {
            "url": "https://filmhouse.example/title/night-ferry",
            "text_content": "Night Ferry follows two strangers through one crossing. The leading actors carry a thriller "
            "that its director keeps close and quiet. Runs 104 minutes, in cinemas now.",
            "category": "Movie",
            "evidence": "Both",
        },
        {
            "url": "https://get.example/apps/tide-clock",
            "text_content": "Tide Clock shows high and low water for your harbour. Install it on your phone; version 3.1 "
            "adds a widget and works offline. Permissions: location.",
            "category": "App",
            "evidence": "Both",
        },
        {
            "url": "https://repository.example/handle/4471",
            "text_content": "We measure how lichens take up nitrogen along a road gradient. Abstract, methods and "
            "supplementary tables. Cited by 12. Published in a peer-reviewed journal.",
            "category": "Academic",
            "evidence": "Text content",
        },
        {
            "url": "https://tube.example/channel/slow-carpentry",
            "text_content": "Slow Carpentry: 41 thousand subscribers, 212 videos. A new joint every Friday. Newest "
            "uploads, playlists and live streams.",
            "category": "Channel",
            "evidence": "Both",
        },
        {
            "url": "https://people.example/in/ilse-varga",
            "text_content": "Ilse Varga, structural engineer. Experience, education and skills. 500 connections. Before "
            "that she worked on three rail bridges.",
            "category": "Profile",
            "evidence": "Both",
        },
        {
            "url": "https://courier.example/2024/05/harbour-wall",
            "text_content": "Repairs to the harbour wall will start on Monday, the council said. The mayor told "
            "reporters that the work would take six weeks.",
            "category": "News",
            "evidence": "Both",
        },
        {
            "url": "https://brassandbone.example/p/2281",
            "text_content": "Folding pocket knife, walnut handle. In stock, dispatched in two days. Add to basket. "
            "Returns within 30 days.",
            "category": "Shop",
            "evidence": "Text content",
        },
        {
            "url": "https://lower-mill.example/visit",
            "text_content": "The mill is open on Sundays from Easter to October. Dogs are welcome on a lead. Parking is "
            "behind the church.",
            "category": "Other",
            "evidence": "Text content",
        },
    ]
