"""Windows' names of time zones, which Outlook and Exchange write into invitations (Unicode CLDR, windowsZones)."""

_NAMES = """
Hawaiian=Pacific/Honolulu Alaskan=America/Anchorage Pacific=America/Los_Angeles US_Mountain=America/Phoenix
Mountain=America/Denver Central_America=America/Guatemala Central=America/Chicago Canada_Central=America/Regina
SA_Pacific=America/Bogota Eastern=America/New_York US_Eastern=America/Indiana/Indianapolis Venezuela=America/Caracas
Paraguay=America/Asuncion Atlantic=America/Halifax SA_Western=America/La_Paz Pacific_SA=America/Santiago
Newfoundland=America/St_Johns E._South_America=America/Sao_Paulo Argentina=America/Argentina/Buenos_Aires
SA_Eastern=America/Cayenne Greenland=America/Nuuk Montevideo=America/Montevideo Azores=Atlantic/Azores
Cape_Verde=Atlantic/Cape_Verde GMT=Europe/London Greenwich=Atlantic/Reykjavik Morocco=Africa/Casablanca
W._Europe=Europe/Berlin Central_Europe=Europe/Budapest Romance=Europe/Paris Central_European=Europe/Warsaw
W._Central_Africa=Africa/Lagos Namibia=Africa/Windhoek Jordan=Asia/Amman GTB=Europe/Bucharest Middle_East=Asia/Beirut
Egypt=Africa/Cairo Syria=Asia/Damascus E._Europe=Europe/Chisinau South_Africa=Africa/Johannesburg FLE=Europe/Kiev
Turkey=Europe/Istanbul Israel=Asia/Jerusalem Kaliningrad=Europe/Kaliningrad Libya=Africa/Tripoli Arabic=Asia/Baghdad
Arab=Asia/Riyadh Belarus=Europe/Minsk Russian=Europe/Moscow E._Africa=Africa/Nairobi Iran=Asia/Tehran
Arabian=Asia/Dubai Azerbaijan=Asia/Baku Mauritius=Indian/Mauritius Georgian=Asia/Tbilisi Caucasus=Asia/Yerevan
Afghanistan=Asia/Kabul West_Asia=Asia/Tashkent Ekaterinburg=Asia/Yekaterinburg Pakistan=Asia/Karachi India=Asia/Kolkata
Sri_Lanka=Asia/Colombo Nepal=Asia/Kathmandu Bangladesh=Asia/Dhaka Myanmar=Asia/Yangon SE_Asia=Asia/Bangkok
N._Central_Asia=Asia/Novosibirsk North_Asia=Asia/Krasnoyarsk China=Asia/Shanghai North_Asia_East=Asia/Irkutsk
Singapore=Asia/Singapore W._Australia=Australia/Perth Taipei=Asia/Taipei Ulaanbaatar=Asia/Ulaanbaatar Tokyo=Asia/Tokyo
Korea=Asia/Seoul Yakutsk=Asia/Yakutsk Cen._Australia=Australia/Adelaide AUS_Central=Australia/Darwin
E._Australia=Australia/Brisbane AUS_Eastern=Australia/Sydney West_Pacific=Pacific/Port_Moresby Tasmania=Australia/Hobart
Vladivostok=Asia/Vladivostok Central_Pacific=Pacific/Guadalcanal New_Zealand=Pacific/Auckland Fiji=Pacific/Fiji
Tonga=Pacific/Tongatapu Samoa=Pacific/Apia
"""

WINDOWS_ZONES = {
    f"{name.replace('_', ' ')} Standard Time": zone for name, zone in (pair.split("=") for pair in _NAMES.split())
} | {"Central Standard Time (Mexico)": "America/Mexico_City"}
"""Windows' name -> the name in the time zone database."""
