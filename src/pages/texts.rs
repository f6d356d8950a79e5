//! What our pages say, in every language.
//!
//! `{}` stands for a version id, a date or the name of a signal. Never names a site. Bound: these constants.

use super::language::Language;

/// Name and explanation of a purpose.
pub(super) struct Purpose {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

/// All texts of one language.
pub(super) struct Texts {
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) languages: &'static str,
    pub(super) saved: &'static str,
    pub(super) gated: &'static str,
    pub(super) objection: &'static str,
    pub(super) objection_wins: &'static str,
    pub(super) state: &'static str,
    pub(super) state_open: &'static str,
    pub(super) advertising_granted: &'static str,
    pub(super) advertising_denied: &'static str,
    pub(super) receipt: &'static str,
    pub(super) receipt_hint: &'static str,
    pub(super) receipt_download: &'static str,
    pub(super) purposes: &'static str,
    pub(super) necessary: Purpose,
    pub(super) functional: Purpose,
    pub(super) analytics: Purpose,
    pub(super) advertising: Purpose,
    /// The same while nothing is enforced.
    pub(super) advertising_dry_run: Purpose,
    /// The same where nobody is asked.
    pub(super) advertising_allowed: Purpose,
    /// The same where it never passes.
    pub(super) advertising_never: Purpose,
    pub(super) always: &'static str,
    pub(super) not_asked: &'static str,
    pub(super) never: &'static str,
    pub(super) policy_heading: &'static str,
    pub(super) policy_accept: &'static str,
    pub(super) policy_accepted: &'static str,
    pub(super) policy_not_consent: &'static str,
    pub(super) policy_read: &'static str,
    pub(super) refuse: &'static str,
    pub(super) accept: &'static str,
    pub(super) save: &'static str,
    pub(super) withdraw: &'static str,
    pub(super) withdraw_heading: &'static str,
    pub(super) withdraw_text: &'static str,
    pub(super) recorded_heading: &'static str,
    pub(super) recorded: &'static str,
    pub(super) location_heading: &'static str,
    pub(super) location: &'static str,
    pub(super) policy_version: &'static str,
    pub(super) policy_in_force: &'static str,
    pub(super) policy_past: &'static str,
    pub(super) policy_future: &'static str,
    pub(super) policy_versions: &'static str,
    pub(super) policy_hash: &'static str,
    pub(super) problem_title: &'static str,
    pub(super) problem_text: &'static str,
    pub(super) problem_expired: &'static str,
    pub(super) problem_outdated: &'static str,
    pub(super) problem_not_stored: &'static str,
    pub(super) back_to_choices: &'static str,
}

/// The texts of a language.
pub(super) const fn texts(language: Language) -> &'static Texts {
    match language {
        Language::Kk => &KK,
        Language::Ru => &RU,
        Language::En => &EN,
    }
}

const EN: Texts = Texts {
    title: "Your privacy choices",
    lead: "You decide what cookies may be used for. A switch is on only if you turned it on yourself. If you refuse, \
           the site keeps working.",
    languages: "Language",
    saved: "Your choice has been saved. It applies from your next request to this site.",
    gated: "The page you asked for requires you to accept the privacy policy. Tick the box under “Privacy policy” and \
            save. What you choose about cookies makes no difference to this.",
    objection: "Your browser sends the {} signal. We treat it as a refusal of advertising, unless you \
          allow advertising for this site below.",
    objection_wins: "Your browser sends the {} signal. While it does, advertising stays refused, \
               whatever is chosen below.",
    state: "Your choice now",
    state_open: "You have not made a choice here yet, or it no longer applies.",
    advertising_granted: "Advertising: allowed",
    advertising_denied: "Advertising: not allowed",
    receipt: "Receipt",
    receipt_hint: "Quote this number if you want to ask about your choice.",
    receipt_download: "Download the receipt",
    purposes: "What cookies may be used for",
    necessary: Purpose {
        name: "Necessary",
        text: "Keep you signed in, remember your basket, protect forms and the site itself. The site does not work \
               without them.",
    },
    functional: Purpose {
        name: "Preferences",
        text: "Remember settings such as your region or the appearance of the site.",
    },
    analytics: Purpose { name: "Statistics", text: "Count visits and show which pages are read." },
    advertising: Purpose {
        name: "Advertising",
        text: "Recognise your browser, choose advertisements for you and measure their effect. Without your consent, \
               cookies known to serve advertising are removed on their way between your browser and the site.",
    },
    advertising_dry_run: Purpose {
        name: "Advertising",
        text: "Recognise your browser, choose advertisements for you and measure their effect. Without your consent, \
               cookies known to serve advertising are to be removed on their way between your browser and the site. \
               This is still being tried out: none is removed yet, whatever you choose.",
    },
    advertising_allowed: Purpose {
        name: "Advertising",
        text: "Recognise your browser, choose advertisements for you and measure their effect.",
    },
    advertising_never: Purpose {
        name: "Advertising",
        text: "Recognise your browser, choose advertisements for you and measure their effect. Cookies known to serve \
               advertising are removed on their way between your browser and the site, whatever you choose.",
    },
    always: "Always on",
    not_asked: "Used without asking",
    never: "Never let through",
    policy_heading: "Privacy policy",
    policy_accept: "I have read the privacy policy, version {}, and accept it",
    policy_accepted: "You have accepted the privacy policy, version {}.",
    policy_not_consent: "Accepting the policy is not consent to advertising: that is chosen separately, above.",
    policy_read: "Read the policy in force (version {})",
    refuse: "Refuse all",
    accept: "Accept all",
    save: "Save my choice",
    withdraw: "Withdraw consent",
    withdraw_heading: "Changing your mind",
    withdraw_text: "You can change your choice or withdraw your consent on this page at any time. This takes effect \
                    with your next request to the site. What was done lawfully before, on the basis of your consent, \
                    stays lawful.",
    recorded_heading: "What is recorded whatever you choose",
    recorded: "With every request your browser automatically sends technical data: your IP address, cookie data, \
               information about the browser or other program, technical characteristics of your equipment and \
               software, the date and time of access, the addresses of the pages requested, and other data of this \
               kind. They are recorded for the purposes named in the privacy policy, and for no other.",
    location_heading: "Location",
    location: "Your location is determined from the IP address only to prevent fraud and to keep the services \
               secure. It is not used for advertising.",
    policy_version: "Version {}",
    policy_in_force: "In force since {}",
    policy_past: "No longer in force; it applied from {}",
    policy_future: "Not yet in force; it applies from {}",
    policy_versions: "All versions",
    policy_hash: "SHA-256 of the text",
    problem_title: "This did not work",
    problem_text: "There is nothing at this address, or the request could not be read. Nothing has been changed.",
    problem_expired: "We could not tell that the request came from this site’s own page, or the page was open for too \
                      long. Nothing has been changed. Please open the page again and repeat your choice.",
    problem_outdated: "The choices or the privacy policy have changed since the page was opened. Nothing has been saved. Please open the page again, read it and repeat your choice.",
    problem_not_stored: "Your choice could not be saved just now, and nothing has been changed. Please try again in a minute.",
    back_to_choices: "Your privacy choices",
};

const RU: Texts = Texts {
    title: "Настройки конфиденциальности",
    lead: "Вы решаете, для чего можно использовать файлы cookie. Переключатель включён, только если вы включили его \
           сами. При отказе сайт продолжит работать.",
    languages: "Язык",
    saved: "Ваш выбор сохранён. Он действует начиная со следующего обращения к сайту.",
    gated: "Чтобы открыть запрошенную страницу, нужно принять политику конфиденциальности. Поставьте отметку в \
            разделе «Политика конфиденциальности» и сохраните выбор. Решение о файлах cookie на доступ не влияет.",
    objection: "Ваш браузер передаёт сигнал {}. Мы считаем его отказом от рекламы, если вы не разрешите \
          рекламу для этого сайта ниже.",
    objection_wins: "Ваш браузер передаёт сигнал {}. Пока он передаётся, реклама остаётся запрещённой \
               независимо от выбора ниже.",
    state: "Ваш выбор сейчас",
    state_open: "Вы ещё не сделали выбор здесь, или он уже не действует.",
    advertising_granted: "Реклама: разрешена",
    advertising_denied: "Реклама: не разрешена",
    receipt: "Номер подтверждения",
    receipt_hint: "Укажите этот номер, если захотите задать вопрос о своём выборе.",
    receipt_download: "Скачать подтверждение",
    purposes: "Для чего могут использоваться файлы cookie",
    necessary: Purpose {
        name: "Необходимые",
        text: "Сохраняют вход в учётную запись и корзину, защищают формы и сам сайт. Без них сайт не работает.",
    },
    functional: Purpose {
        name: "Предпочтения",
        text: "Запоминают ваши настройки, например регион или оформление сайта.",
    },
    analytics: Purpose {
        name: "Статистика", text: "Считают посещения и показывают, какие страницы читают."
    },
    advertising: Purpose {
        name: "Реклама",
        text: "Узнают ваш браузер, подбирают для вас рекламу и измеряют её результат. Без вашего согласия файлы \
               cookie, известные как рекламные, удаляются на пути между вашим браузером и сайтом.",
    },
    advertising_dry_run: Purpose {
        name: "Реклама",
        text: "Узнают ваш браузер, подбирают для вас рекламу и измеряют её результат. Без вашего согласия файлы \
               cookie, известные как рекламные, должны удаляться на пути между вашим браузером и сайтом. Пока это \
               только проверяется: каким бы ни был ваш выбор, они ещё не удаляются.",
    },
    advertising_allowed: Purpose {
        name: "Реклама",
        text: "Узнают ваш браузер, подбирают для вас рекламу и измеряют её результат.",
    },
    advertising_never: Purpose {
        name: "Реклама",
        text: "Узнают ваш браузер, подбирают для вас рекламу и измеряют её результат. Файлы cookie, известные как \
               рекламные, удаляются на пути между вашим браузером и сайтом независимо от вашего выбора.",
    },
    always: "Всегда включены",
    not_asked: "Используются без запроса",
    never: "Не пропускаются никогда",
    policy_heading: "Политика конфиденциальности",
    policy_accept: "Я прочитал(а) политику конфиденциальности, версия {}, и принимаю её",
    policy_accepted: "Вы приняли политику конфиденциальности, версия {}.",
    policy_not_consent: "Принятие политики не означает согласия на рекламу: оно даётся отдельно, выше.",
    policy_read: "Прочитать действующую политику (версия {})",
    refuse: "Отказаться от всех",
    accept: "Принять все",
    save: "Сохранить мой выбор",
    withdraw: "Отозвать согласие",
    withdraw_heading: "Если вы передумаете",
    withdraw_text: "Вы можете в любое время изменить свой выбор или отозвать согласие на этой странице. Изменение \
                    вступает в силу начиная со следующего вашего обращения к сайту. Это не затрагивает законность \
                    того, что было сделано ранее на основании вашего согласия.",
    recorded_heading: "Что записывается при любом выборе",
    recorded: "При каждом запросе ваш браузер автоматически передаёт технические данные: IP-адрес, данные файлов \
               cookie, информацию о браузере или иной программе, технические характеристики оборудования и \
               программного обеспечения, дату и время доступа, адреса запрашиваемых страниц и иные подобные данные. \
               Они записываются только в целях, указанных в политике конфиденциальности.",
    location_heading: "Местоположение",
    location: "Ваше местоположение определяется по IP-адресу только для предотвращения мошенничества и обеспечения \
               безопасности сервисов. Для рекламы оно не используется.",
    policy_version: "Версия {}",
    policy_in_force: "Действует с {}",
    policy_past: "Больше не действует; применялась с {}",
    policy_future: "Ещё не действует; вступает в силу {}",
    policy_versions: "Все версии",
    policy_hash: "SHA-256 текста",
    problem_title: "Не получилось",
    problem_text: "По этому адресу ничего нет, или запрос не удалось прочитать. Ничего не изменено.",
    problem_expired: "Не удалось убедиться, что запрос отправлен со страницы этого сайта, или страница была открыта \
                      слишком долго. Ничего не изменено. Откройте страницу заново и повторите выбор.",
    problem_outdated: "Пока страница была открыта, варианты выбора или политика конфиденциальности изменились. Ничего не сохранено. Откройте страницу заново, прочитайте её и повторите выбор.",
    problem_not_stored: "Сейчас сохранить ваш выбор не удалось, ничего не изменено. Попробуйте ещё раз через минуту.",
    back_to_choices: "Настройки конфиденциальности",
};

const KK: Texts = Texts {
    title: "Құпиялылық баптаулары",
    lead: "Cookie файлдарының не үшін қолданылатынын өзіңіз шешесіз. Ауыстырып-қосқыш өзіңіз қосқан жағдайда ғана \
           қосулы болады. Бас тартсаңыз да, сайт жұмысын жалғастыра береді.",
    languages: "Тіл",
    saved: "Таңдауыңыз сақталды. Ол сайтқа келесі сұрауыңыздан бастап қолданылады.",
    gated: "Сіз ашқыңыз келген бет үшін құпиялылық саясатын қабылдау қажет. «Құпиялылық саясаты» бөлімінде белгі \
            қойып, таңдауыңызды сақтаңыз. Cookie файлдары туралы шешіміңіз бұған әсер етпейді.",
    objection: "Браузеріңіз {} сигналын жібереді. Төменде осы сайт үшін жарнамаға рұқсат бермесеңіз, біз \
          оны жарнамадан бас тарту деп есептейміз.",
    objection_wins: "Браузеріңіз {} сигналын жібереді. Бұл сигнал жіберіліп тұрғанда, төмендегі \
               таңдауға қарамастан, жарнамаға рұқсат берілмейді.",
    state: "Қазіргі таңдауыңыз",
    state_open: "Сіз бұл жерде әлі таңдау жасаған жоқсыз немесе таңдауыңыздың күші жойылған.",
    advertising_granted: "Жарнама: рұқсат етілген",
    advertising_denied: "Жарнама: рұқсат етілмеген",
    receipt: "Растау нөмірі",
    receipt_hint: "Таңдауыңыз туралы сұрағыңыз болса, осы нөмірді көрсетіңіз.",
    receipt_download: "Растауды жүктеп алу",
    purposes: "Cookie файлдары не үшін қолданылуы мүмкін",
    necessary: Purpose {
        name: "Қажетті",
        text: "Аккаунтқа кіруіңізді және себетті сақтайды, пішіндер мен сайттың өзін қорғайды. Оларсыз сайт жұмыс \
               істемейді.",
    },
    functional: Purpose {
        name: "Қалаулар",
        text: "Өңір немесе сайттың көрінісі сияқты баптауларыңызды есте сақтайды.",
    },
    analytics: Purpose {
        name: "Статистика",
        text: "Сайтқа кірулерді санайды және қай беттер оқылатынын көрсетеді.",
    },
    advertising: Purpose {
        name: "Жарнама",
        text: "Браузеріңізді таниды, сізге жарнама таңдайды және оның нәтижесін өлшейді. Келісіміңіз болмаса, \
               жарнамаға арналғаны белгілі cookie файлдары браузеріңіз бен сайт арасындағы жолда алып тасталады.",
    },
    advertising_dry_run: Purpose {
        name: "Жарнама",
        text: "Браузеріңізді таниды, сізге жарнама таңдайды және оның нәтижесін өлшейді. Келісіміңіз болмаса, \
               жарнамаға арналғаны белгілі cookie файлдары браузеріңіз бен сайт арасындағы жолда алып тасталуы тиіс. \
               Әзірге бұл тек сынақтан өтуде: таңдауыңыз қандай болса да, олар әлі алып тасталмайды.",
    },
    advertising_allowed: Purpose {
        name: "Жарнама",
        text: "Браузеріңізді таниды, сізге жарнама таңдайды және оның нәтижесін өлшейді.",
    },
    advertising_never: Purpose {
        name: "Жарнама",
        text: "Браузеріңізді таниды, сізге жарнама таңдайды және оның нәтижесін өлшейді. Таңдауыңызға қарамастан, жарнамаға \
               арналғаны белгілі cookie файлдары браузеріңіз бен сайт арасындағы жолда алып тасталады.",
    },
    always: "Әрқашан қосулы",
    not_asked: "Сұраусыз қолданылады",
    never: "Ешқашан өткізілмейді",
    policy_heading: "Құпиялылық саясаты",
    policy_accept: "Құпиялылық саясатының {} нұсқасын оқыдым және қабылдаймын",
    policy_accepted: "Сіз құпиялылық саясатының {} нұсқасын қабылдадыңыз.",
    policy_not_consent: "Саясатты қабылдау жарнамаға келісім беру болып саналмайды: ол жоғарыда бөлек таңдалады.",
    policy_read: "Қолданыстағы саясатты оқу ({} нұсқасы)",
    refuse: "Бәрінен бас тарту",
    accept: "Бәріне келісу",
    save: "Таңдауымды сақтау",
    withdraw: "Келісімді кері қайтарып алу",
    withdraw_heading: "Ойыңыз өзгерсе",
    withdraw_text: "Осы бетте таңдауыңызды кез келген уақытта өзгерте аласыз немесе келісіміңізді кері қайтарып ала \
                    аласыз. Өзгеріс сайтқа келесі сұрауыңыздан бастап күшіне енеді. Бұл бұрын келісіміңіз негізінде \
                    жасалған әрекеттердің заңдылығына әсер етпейді.",
    recorded_heading: "Таңдауыңызға қарамастан қандай деректер жазылады",
    recorded: "Әр сұрау кезінде браузеріңіз техникалық деректерді автоматты түрде жібереді: IP-мекенжайыңыз, cookie \
               деректері, браузер немесе өзге бағдарлама туралы ақпарат, жабдық пен бағдарламалық жасақтаманың \
               техникалық сипаттамалары, кірген күн мен уақыт, сұралған беттердің мекенжайлары және осыған ұқсас өзге \
               де деректер. Олар тек құпиялылық саясатында көрсетілген мақсаттарда жазылады.",
    location_heading: "Орналасқан жер",
    location: "Орналасқан жеріңіз IP-мекенжай бойынша тек алаяқтықтың алдын алу және сервистердің қауіпсіздігін \
               қамтамасыз ету үшін анықталады. Ол жарнама үшін пайдаланылмайды.",
    policy_version: "{} нұсқасы",
    policy_in_force: "{} күнінен бастап қолданыста",
    policy_past: "Енді қолданылмайды; {} күнінен бастап қолданылған",
    policy_future: "Әлі күшіне енген жоқ; {} күнінен бастап қолданылады",
    policy_versions: "Барлық нұсқалар",
    policy_hash: "Мәтіннің SHA-256 хеші",
    problem_title: "Орындалмады",
    problem_text: "Бұл мекенжайда ештеңе жоқ немесе сұрауды оқу мүмкін болмады. Ештеңе өзгертілген жоқ.",
    problem_expired: "Сұраудың осы сайттың өз бетінен жіберілгеніне көз жеткізе алмадық немесе бет тым ұзақ ашық \
                      тұрды. Ештеңе өзгертілген жоқ. Бетті қайта ашып, таңдауыңызды қайталаңыз.",
    problem_outdated: "Бет ашық тұрған кезде таңдау нұсқалары немесе құпиялылық саясаты өзгерді. Ештеңе сақталған жоқ. Бетті қайта ашып, оқып шығып, таңдауыңызды қайталаңыз.",
    problem_not_stored: "Таңдауыңызды қазір сақтау мүмкін болмады, ештеңе өзгертілген жоқ. Бір минуттан кейін қайталап көріңіз.",
    back_to_choices: "Құпиялылық баптаулары",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_with_a_place_have_exactly_one() {
        for language in Language::ALL {
            let t = texts(language);
            for text in [
                t.objection,
                t.objection_wins,
                t.policy_accept,
                t.policy_accepted,
                t.policy_read,
                t.policy_version,
                t.policy_in_force,
                t.policy_past,
                t.policy_future,
            ] {
                assert_eq!(text.matches("{}").count(), 1, "{text}");
            }
        }
    }

    #[test]
    fn kazakh_is_written_in_kazakh_letters_and_the_languages_differ() {
        let (kk, ru, en) = (texts(Language::Kk), texts(Language::Ru), texts(Language::En));
        assert!(kk.recorded.contains('қ') && kk.recorded.contains('ң') && kk.recorded.contains('ұ'));
        assert!(ru.recorded.contains('ы') && !ru.recorded.contains('қ'));
        assert!(en.recorded.is_ascii());
    }
}
